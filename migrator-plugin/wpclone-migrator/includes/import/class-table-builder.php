<?php
/**
 * Builds CREATE TABLE from a definition. Nothing of the definition is executed as it was received.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Table_Builder {
	/** Limits of MySQL and MariaDB. */
	const MAX_COLUMNS = 4096;
	const MAX_INDEXES = 128;
	const MAX_CHECKS  = 1000;

	/** Since when MariaDB has system versioning, periods for an application, and indexes without overlaps. */
	const VERSIONING_SINCE       = '10.3.4';
	const PERIODS_SINCE          = '10.4.3';
	const WITHOUT_OVERLAPS_SINCE = '10.5.3';

	/** Engines that store rows themselves. Tables of others, which read files or other servers, become InnoDB. */
	const ENGINES = array( 'InnoDB', 'MyISAM', 'Aria', 'MEMORY' );

	/** @var Database */
	private $db;

	/** @var Json_Object */
	private $definition;

	/** @var bool */
	private $is_mariadb;

	/** @var string */
	private $engine;

	/** @var string[] Names of all columns. */
	private $names = array();

	/** @var Expression_Sanitizer */
	private $expressions;

	/** @var array<string, Column in lower case => its check, which MariaDB attaches to the column. */
	private $checks = array();

	/** @var array[] */
	private $adjustments = array();

	public function __construct( Database $db, Json_Object $definition ) {
		$this->db         = $db;
		$this->definition = $definition;
		$this->is_mariadb = $db->is_mariadb();
		$this->engine     = $this->engine();
	}

	/** What differs from the definition. */
	public function adjustments(): array {
		return $this->adjustments;
	}

	/** Whether a chunk of rows can be loaded in a transaction. */
	public function is_transactional(): bool {
		return 'InnoDB' === $this->engine;
	}

	/** Whether a string may be the name of a table, column, index or constraint. */
	public static function is_name( string $name ): bool {
		return 1 === preg_match( '/\A[^\x00\x{10000}-\x{10ffff}]{1,64}\z/u', $name ) && ' ' !== substr( $name, -1 );
	}

	/** The CREATE TABLE statement, under another name. */
	public function sql( string $as ): string {
		$columns = $this->list_of( $this->definition, 'columns', self::MAX_COLUMNS );
		foreach ( $columns as $i => $column ) {
			$this->names[] = $this->name_in( $column, "columns.$i.name" );
		}
		if ( ! $columns || count( array_unique( array_map( 'strtolower', $this->names ) ) ) !== count( $this->names ) ) {
			throw self::rejected( 'columns' );
		}
		$this->expressions = new Expression_Sanitizer( $this->db, $this->names );
		$checks            = $this->checks();
		$parts             = array();
		foreach ( $columns as $i => $column ) {
			$parts[] = ( new Column_Builder( $this->db, $column, "columns.$i", $this->expressions, (string) $this->definition->get( 'collation' ) ) )->sql( $this->adjustments ) . ( $this->checks[ strtolower( $this->names[ $i ] ) ] ?? '' );
		}
		foreach ( $this->list_of( $this->definition, 'indexes', self::MAX_INDEXES ) as $i => $index ) {
			$parts[] = $this->index( $index, "indexes.$i" );
		}
		$parts = array_filter( array_merge( $parts, $this->periods(), $checks ) );
		return 'CREATE TABLE ' . Database::identifier( $as ) . " (\n" . implode( ",\n", $parts ) . "\n)" . $this->options();
	}

	/** The periods of the table, which only MariaDB has. */
	private function periods(): array {
		$parts = array();
		foreach ( $this->list_of( $this->definition, 'periods', self::MAX_INDEXES ) as $i => $period ) {
			$name      = $this->name_in( $period, "periods.$i.name" );
			$is_system = 'SYSTEM_TIME' === $name;
			$columns   = array();
			foreach ( array( 'from', 'to' ) as $end ) {
				$columns[] = $this->column_of( new Json_Object( array( 'column' => $period->get( $end ) ) ), "periods.$i.$end" );
			}
			if ( $this->db->is_at_least( null, $is_system ? self::VERSIONING_SINCE : self::PERIODS_SINCE ) ) {
				$parts[] = 'PERIOD FOR ' . ( $is_system ? $name : Database::identifier( $name ) ) . ' (' . implode( ', ', $columns ) . ')';
			} else {
				$this->adjust( "periods.$i", $name, null );
			}
		}
		return $parts;
	}

	/** Whether the table keeps former rows. Those of the source are not imported. */
	private function versioning(): string {
		if ( true !== $this->definition->get( 'versioned' ) ) {
			return '';
		}
		if ( $this->db->is_at_least( null, self::VERSIONING_SINCE ) ) {
			return ' WITH SYSTEM VERSIONING';
		}
		$this->adjust( 'versioned', true, false );
		return '';
	}

	private function engine(): string {
		$requested = $this->definition->get_string( 'engine', '/\A[A-Za-z0-9_]{1,64}\z/' );
		foreach ( $this->db->fetch_all( "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')" ) as $row ) {
			if ( 0 === strcasecmp( $row[0], $requested ) ) {
				foreach ( self::ENGINES as $engine ) {
					if ( 0 === strcasecmp( $engine, $requested ) ) {
						return $engine;
					}
				}
			}
		}
		$this->adjust( 'engine', $requested, 'InnoDB' );
		return 'InnoDB';
	}

	private function options(): string {
		$charset   = $this->definition->get_string( 'charset', '/\A[a-z0-9]{1,32}\z/' );
		$collation = $this->definition->get_string( 'collation', '/\A[a-z0-9_]{1,64}\z/' );
		$known     = Charset_Mapper::collation( $this->db, $collation, $charset );
		if ( null === $known ) {
			throw self::rejected( 'charset' );
		}
		if ( $known !== $collation ) {
			$this->adjust( 'collation', $collation, $known );
		}
		$sql    = " ENGINE={$this->engine} DEFAULT CHARACTER SET " . Charset_Mapper::charset( $this->db, $charset ) . " COLLATE $known";
		$format = strtoupper( (string) $this->definition->get( 'row_format' ) );
		// Only formats that differ from the engine's default.
		$known = array(
			'InnoDB' => array( 'COMPACT', 'REDUNDANT', 'COMPRESSED' ),
			'Aria'   => array( 'DYNAMIC', 'FIXED' ),
		);
		if ( in_array( $format, $known[ $this->engine ] ?? array(), true ) ) {
			$sql .= " ROW_FORMAT=$format";
		}
		if ( true === $this->definition->get( 'partitioned' ) ) {
			$this->adjust( 'partitioned', true, false );
		}
		$next = $this->definition->has( 'auto_increment' ) ? $this->definition->get_int( 'auto_increment', 0, PHP_INT_MAX ) : 0;
		$sql .= $next > 0 ? " AUTO_INCREMENT=$next" : '';
		return $sql . $this->comment( $this->definition, 2048 ) . $this->versioning();
	}

	private function index( Json_Object $index, string $field ): string {
		$name  = $this->name_in( $index, "$field.name" );
		$kind  = strtoupper( $this->required_string( $index, 'kind', '/\A[A-Za-z]{1,16}\z/', $field ) );
		$parts = array();
		foreach ( $this->list_of( $index, 'parts', 64, $field ) as $i => $part ) {
			if ( $part->has( 'expression' ) ) {
				$sql = $this->is_mariadb ? null : $this->expressions->sanitize( $this->required_string( $part, 'expression', '/\A.{1,16384}\z/s', "$field.parts.$i" ) );
				if ( null === $sql && ! $this->is_mariadb ) {
					throw self::rejected( "$field.parts.$i.expression" );
				}
				if ( null === $sql ) {
					$this->adjust( $field, $name, null );
					return '';
				}
				$sql = "($sql)";
			} else {
				$sql = $this->column_of( $part, "$field.parts.$i.column" );
			}
			$length  = $part->has( 'length' ) && in_array( $kind, array( 'BTREE', 'HASH' ), true ) ? '(' . $part->get_int( 'length', 1, 65535 ) . ')' : '';
			$parts[] = $sql . $length . ( true === $part->get( 'descending' ) ? ' DESC' : '' );
		}
		if ( $index->has( 'without_overlaps' ) ) {
			$period = $index->get( 'without_overlaps' );
			if ( ! is_string( $period ) || ! self::is_name( $period ) ) {
				throw self::rejected( "$field.without_overlaps" );
			}
			if ( ! $this->db->is_at_least( null, self::WITHOUT_OVERLAPS_SINCE ) ) {
				// The same columns without the period are not unique.
				$this->adjust( $field, $name, null );
				return '';
			}
			$parts[] = Database::identifier( $period ) . ' WITHOUT OVERLAPS';
		}
		$list = ' (' . implode( ', ', $parts ) . ')';
		if ( ! $parts || ! in_array( $kind, array( 'BTREE', 'HASH', 'FULLTEXT', 'SPATIAL', 'RTREE' ), true ) ) {
			throw self::rejected( "$field.kind" );
		}
		$more = ( 'HASH' === $kind || ( 'BTREE' === $kind && 'MEMORY' === $this->engine ) ? " USING $kind" : '' ) . $this->comment( $index, 1024 ) . $this->visibility( $index, $field );
		if ( 'PRIMARY' === $name ) {
			return 'PRIMARY KEY' . $list . $more;
		}
		if ( 'FULLTEXT' === $kind || 'SPATIAL' === $kind || 'RTREE' === $kind ) {
			return ( 'FULLTEXT' === $kind ? 'FULLTEXT' : 'SPATIAL' ) . ' KEY ' . Database::identifier( $name ) . $list . $more;
		}
		return ( true === $index->get( 'unique' ) ? 'UNIQUE ' : '' ) . 'KEY ' . Database::identifier( $name ) . $list . $more;
	}

	/** Whether the server maintains an index and does not use it. */
	private function visibility( Json_Object $index, string $field ): string {
		if ( true !== $index->get( 'ignored' ) ) {
			return '';
		}
		if ( $this->db->is_at_least( '8.0.0', '10.6.0' ) ) {
			return $this->is_mariadb ? ' IGNORED' : ' INVISIBLE';
		}
		$this->adjust( "$field.ignored", true, false );
		return '';
	}

	/** The checks of the table. MariaDB lists checks of a column under the column's name. */
	private function checks(): array {
		$parts = array();
		$lower = array_map( 'strtolower', $this->names );
		foreach ( $this->list_of( $this->definition, 'checks', self::MAX_CHECKS ) as $i => $check ) {
			$name = $this->name_in( $check, "checks.$i.name" );
			$sql  = $this->expressions->sanitize( $this->required_string( $check, 'expression', '/\A.{1,16384}\z/s', "checks.$i" ) );
			if ( null === $sql ) {
				throw self::rejected( "checks.$i.expression" );
			}
			$enforced = false !== $check->get( 'enforced' );
			if ( ! $enforced && $this->is_mariadb ) {
				// It would be enforced here, and rows may violate it.
				$this->adjust( "checks.$i", $name, null );
				continue;
			}
			if ( $this->is_mariadb && in_array( strtolower( $name ), $lower, true ) && ! isset( $this->checks[ strtolower( $name ) ] ) ) {
				$this->checks[ strtolower( $name ) ] = " CHECK ($sql)";
				continue;
			}
			// In MySQL names of checks are unique in a schema; without a name it generates one.
			$is_generated = ! $this->is_mariadb && 1 === preg_match( '/\A' . preg_quote( (string) $this->definition->get( 'name' ), '/' ) . '_chk_\d+\z/', $name );
			$taken        = ! $this->is_mariadb && ! $is_generated && null !== $this->db->fetch_value( 'SELECT 1 FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = ' . Database::utf8_literal( $name ) );
			$parts[]      = ( $taken || $is_generated ? '' : 'CONSTRAINT ' . Database::identifier( $name ) . ' ' ) . "CHECK ($sql)" . ( $enforced ? '' : ' NOT ENFORCED' );
			if ( $taken ) {
				$this->adjust( "checks.$i.name", $name, null );
			}
		}
		return $parts;
	}

	private function column_of( Json_Object $part, string $field ): string {
		$name = $part->get( 'column' );
		if ( ! is_string( $name ) || ! in_array( strtolower( $name ), array_map( 'strtolower', $this->names ), true ) ) {
			throw self::rejected( $field );
		}
		return Database::identifier( $name );
	}

	private function comment( Json_Object $of, int $max ): string {
		$text = $of->get_string( 'comment', '/\A.{0,8192}\z/s', '' );
		return '' === $text ? '' : ' COMMENT ' . $this->db->quote( self::truncate( $text, $max ) );
	}

	/** The first characters of a string, at most `$max`. */
	public static function truncate( string $text, int $max ): string {
		return 1 === preg_match( '/\A.{0,' . $max . '}/su', $text, $found ) ? $found[0] : '';
	}

	private function name_in( Json_Object $of, string $field ): string {
		$name = $of->get( 'name' );
		if ( ! is_string( $name ) || ! self::is_name( $name ) ) {
			throw self::rejected( $field );
		}
		return $name;
	}

	private function required_string( Json_Object $of, string $name, string $pattern, string $field ): string {
		$text = $of->get( $name );
		if ( ! is_string( $text ) || 1 !== preg_match( $pattern, $text ) ) {
			throw self::rejected( "$field.$name" );
		}
		return $text;
	}

	/** @return Json_Object[] */
	private function list_of( Json_Object $of, string $name, int $max, string $field = '' ): array {
		$found = array();
		foreach ( $of->get_list( $name, $max, array() ) as $i => $item ) {
			if ( ! is_array( $item ) ) {
				throw self::rejected( ltrim( "$field.$name.$i", '.' ) );
			}
			$found[] = new Json_Object( $item );
		}
		return $found;
	}

	private function adjust( string $field, $from, $to ): void {
		$this->adjustments[] = compact( 'field', 'from', 'to' );
	}

	/** The error for a part of a definition that is not accepted. */
	public static function rejected( string $field ): Migrator_Error {
		return new Migrator_Error( 'rejected', array( 'field' => $field ) );
	}
}
