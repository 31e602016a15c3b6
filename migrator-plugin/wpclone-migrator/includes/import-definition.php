<?php
/**
 * A table's definition that came as data, made into a statement of ours. Nothing of it is executed as it came.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Definition {
	/** What MySQL and MariaDB allow. */
	const MOST_COLUMNS = 4096;
	const MOST_INDEXES = 128;

	/** Engines that keep their rows themselves. Others read files or other servers; their tables become InnoDB. */
	const ENGINES = array( 'InnoDB', 'MyISAM', 'Aria', 'MEMORY' );

	/** @var Db */
	private $db;

	/** @var Json */
	private $wanted;

	/** @var bool */
	private $is_mariadb;

	/** @var string */
	private $engine;

	/** @var string[] Names of all columns. */
	private $names = array();

	/** @var Import_Expression */
	private $expressions;

	/** @var array<string, string> Column in lower case => its check, where MariaDB has it with the column. */
	private $checks = array();

	/** @var array[] */
	private $adjusted = array();

	public function __construct( Db $db, Json $wanted ) {
		$this->db         = $db;
		$this->wanted     = $wanted;
		$this->is_mariadb = $db->is_mariadb();
		$this->engine     = $this->engine();
	}

	/** What is not as it was wanted. */
	public function adjusted(): array {
		return $this->adjusted;
	}

	/** Whether a chunk of rows is taken in wholly or not at all. */
	public function is_transactional(): bool {
		return 'InnoDB' === $this->engine;
	}

	/** Whether a text may be the name of a table, column, index or constraint. */
	public static function is_name( string $name ): bool {
		return 1 === preg_match( '/\A[^\x00\x{10000}-\x{10ffff}]{1,64}\z/u', $name ) && ' ' !== substr( $name, -1 );
	}

	/** The statement that makes the table under another name. */
	public function sql( string $as ): string {
		$columns = $this->list_of( $this->wanted, 'columns', self::MOST_COLUMNS );
		foreach ( $columns as $i => $column ) {
			$this->names[] = $this->name_in( $column, "columns.$i.name" );
		}
		if ( ! $columns || count( array_unique( array_map( 'strtolower', $this->names ) ) ) !== count( $this->names ) ) {
			throw self::refused( 'columns' );
		}
		$this->expressions = new Import_Expression( $this->db, $this->names );
		$checks            = $this->checks();
		$parts             = array();
		foreach ( $columns as $i => $column ) {
			$parts[] = ( new Import_Column( $this->db, $column, "columns.$i", $this->expressions, (string) $this->wanted->any( 'collation' ) ) )->sql( $this->adjusted ) . ( $this->checks[ strtolower( $this->names[ $i ] ) ] ?? '' );
		}
		foreach ( $this->list_of( $this->wanted, 'indexes', self::MOST_INDEXES ) as $i => $index ) {
			$parts[] = $this->index( $index, "indexes.$i" );
		}
		$parts = array_filter( array_merge( $parts, $checks ) );
		return 'CREATE TABLE ' . Db::name( $as ) . " (\n" . implode( ",\n", $parts ) . "\n)" . $this->options();
	}

	private function engine(): string {
		$wanted = $this->wanted->text_of( 'engine', '/\A[A-Za-z0-9_]{1,64}\z/' );
		foreach ( $this->db->all( "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')" ) as $row ) {
			if ( 0 === strcasecmp( $row[0], $wanted ) ) {
				foreach ( self::ENGINES as $engine ) {
					if ( 0 === strcasecmp( $engine, $wanted ) ) {
						return $engine;
					}
				}
			}
		}
		$this->adjust( 'engine', $wanted, 'InnoDB' );
		return 'InnoDB';
	}

	private function options(): string {
		$charset   = $this->wanted->text_of( 'charset', '/\A[a-z0-9]{1,32}\z/' );
		$collation = $this->wanted->text_of( 'collation', '/\A[a-z0-9_]{1,64}\z/' );
		$known     = Import_Charsets::collation( $this->db, $collation, $charset );
		if ( null === $known ) {
			throw self::refused( 'charset' );
		}
		if ( $known !== $collation ) {
			$this->adjust( 'collation', $collation, $known );
		}
		$sql    = " ENGINE={$this->engine} DEFAULT CHARACTER SET " . Import_Charsets::charset( $this->db, $charset ) . " COLLATE $known";
		$format = strtoupper( (string) $this->wanted->any( 'row_format' ) );
		// Only those that a table does not have by itself.
		$known  = array(
			'InnoDB' => array( 'COMPACT', 'REDUNDANT', 'COMPRESSED' ),
			'Aria'   => array( 'DYNAMIC', 'FIXED' ),
		);
		if ( in_array( $format, $known[ $this->engine ] ?? array(), true ) ) {
			$sql .= " ROW_FORMAT=$format";
		}
		if ( true === $this->wanted->any( 'partitioned' ) ) {
			$this->adjust( 'partitioned', true, false );
		}
		$next = $this->wanted->has( 'auto_increment' ) ? $this->wanted->number( 'auto_increment', 0, PHP_INT_MAX ) : 0;
		$sql .= $next > 0 ? " AUTO_INCREMENT=$next" : '';
		return $sql . $this->comment( $this->wanted, 2048 );
	}

	private function index( Json $index, string $member ): string {
		$name  = $this->name_in( $index, "$member.name" );
		$kind  = strtoupper( $this->of( $index, 'kind', '/\A[A-Za-z]{1,16}\z/', $member ) );
		$parts = array();
		foreach ( $this->list_of( $index, 'parts', 64, $member ) as $i => $part ) {
			if ( $part->has( 'expression' ) ) {
				$sql = $this->is_mariadb ? null : $this->expressions->checked( $this->of( $part, 'expression', '/\A.{1,16384}\z/s', "$member.parts.$i" ) );
				if ( null === $sql && ! $this->is_mariadb ) {
					throw self::refused( "$member.parts.$i.expression" );
				}
				if ( null === $sql ) {
					$this->adjust( $member, $name, null );
					return '';
				}
				$sql = "($sql)";
			} else {
				$sql = $this->column_of( $part, "$member.parts.$i.column" );
			}
			$length  = $part->has( 'length' ) && in_array( $kind, array( 'BTREE', 'HASH' ), true ) ? '(' . $part->number( 'length', 1, 65535 ) . ')' : '';
			$parts[] = $sql . $length . ( true === $part->any( 'descending' ) ? ' DESC' : '' );
		}
		$list = ' (' . implode( ', ', $parts ) . ')';
		if ( ! $parts || ! in_array( $kind, array( 'BTREE', 'HASH', 'FULLTEXT', 'SPATIAL', 'RTREE' ), true ) ) {
			throw self::refused( "$member.kind" );
		}
		$more = ( 'HASH' === $kind || ( 'BTREE' === $kind && 'MEMORY' === $this->engine ) ? " USING $kind" : '' ) . $this->comment( $index, 1024 );
		if ( 'PRIMARY' === $name ) {
			return 'PRIMARY KEY' . $list . $more;
		}
		if ( 'FULLTEXT' === $kind || 'SPATIAL' === $kind || 'RTREE' === $kind ) {
			return ( 'FULLTEXT' === $kind ? 'FULLTEXT' : 'SPATIAL' ) . ' KEY ' . Db::name( $name ) . $list . $more;
		}
		return ( true === $index->any( 'unique' ) ? 'UNIQUE ' : '' ) . 'KEY ' . Db::name( $name ) . $list . $more;
	}

	/** Checks of the table; those that MariaDB shows under the name of a column belong to it. */
	private function checks(): array {
		$parts = array();
		$lower = array_map( 'strtolower', $this->names );
		foreach ( $this->list_of( $this->wanted, 'checks', 1000 ) as $i => $check ) {
			$name = $this->name_in( $check, "checks.$i.name" );
			$sql  = $this->expressions->checked( $this->of( $check, 'expression', '/\A.{1,16384}\z/s', "checks.$i" ) );
			if ( null === $sql ) {
				throw self::refused( "checks.$i.expression" );
			}
			if ( $this->is_mariadb && in_array( strtolower( $name ), $lower, true ) && ! isset( $this->checks[ strtolower( $name ) ] ) ) {
				$this->checks[ strtolower( $name ) ] = " CHECK ($sql)";
				continue;
			}
			// MySQL knows a check's name once in a schema; without one it makes its own.
			$its_own = ! $this->is_mariadb && 1 === preg_match( '/\A' . preg_quote( (string) $this->wanted->any( 'name' ), '/' ) . '_chk_\d+\z/', $name );
			$taken   = ! $this->is_mariadb && ! $its_own && null !== $this->db->value( 'SELECT 1 FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = ' . Db::utf8( $name ) );
			$parts[] = ( $taken || $its_own ? '' : 'CONSTRAINT ' . Db::name( $name ) . ' ' ) . "CHECK ($sql)";
			if ( $taken ) {
				$this->adjust( "checks.$i.name", $name, null );
			}
		}
		return $parts;
	}

	private function column_of( Json $part, string $member ): string {
		$name = $part->any( 'column' );
		if ( ! is_string( $name ) || ! in_array( strtolower( $name ), array_map( 'strtolower', $this->names ), true ) ) {
			throw self::refused( $member );
		}
		return Db::name( $name );
	}

	private function comment( Json $of, int $most ): string {
		$text = $of->text_of( 'comment', '/\A.{0,8192}\z/s', '' );
		return '' === $text ? '' : ' COMMENT ' . $this->db->text( self::cut( $text, $most ) );
	}

	/** At most so many characters of a text. */
	public static function cut( string $text, int $most ): string {
		return 1 === preg_match( '/\A.{0,' . $most . '}/su', $text, $found ) ? $found[0] : '';
	}

	private function name_in( Json $of, string $member ): string {
		$name = $of->any( 'name' );
		if ( ! is_string( $name ) || ! self::is_name( $name ) ) {
			throw self::refused( $member );
		}
		return $name;
	}

	private function of( Json $of, string $name, string $form, string $member ): string {
		$text = $of->any( $name );
		if ( ! is_string( $text ) || 1 !== preg_match( $form, $text ) ) {
			throw self::refused( "$member.$name" );
		}
		return $text;
	}

	/** @return Json[] */
	private function list_of( Json $of, string $name, int $most, string $member = '' ): array {
		$found = array();
		foreach ( $of->items( $name, $most, array() ) as $i => $item ) {
			if ( ! is_array( $item ) ) {
				throw self::refused( ltrim( "$member.$name.$i", '.' ) );
			}
			$found[] = new Json( $item );
		}
		return $found;
	}

	private function adjust( string $member, $from, $to ): void {
		$this->adjusted[] = compact( 'member', 'from', 'to' );
	}

	/** A part of a definition that is not taken in. */
	public static function refused( string $member ): Trouble {
		return new Trouble( 'refused', array( 'member' => $member ) );
	}
}
