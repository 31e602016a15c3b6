<?php
/**
 * A column of a definition.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Column {
	/** Types that take no charset, as a pattern of the whole. */
	const PLAIN = '/\A(?:(?:tinyint|smallint|mediumint|int|integer|bigint)(?:\(\d{1,3}\))?(?: unsigned)?(?: zerofill)?'
		. '|(?:decimal|numeric|float|double|real)(?:\(\d{1,3}(?:,\d{1,2})?\))?(?: unsigned)?(?: zerofill)?'
		. '|bit(?:\(\d{1,2}\))?|date|year(?:\(\d\))?|(?:datetime|timestamp|time)(?:\([0-6]\))?'
		. '|(?:var)?binary(?:\(\d{1,5}\))?|(?:tiny|medium|long)?blob|blob\(\d{1,10}\)'
		. '|json|geometry|point|linestring|polygon|multipoint|multilinestring|multipolygon|geometrycollection|geomcollection'
		. '|inet4|inet6|uuid|vector\(\d{1,5}\))\z/';

	/** Types of text, of which enum and set hold texts themselves. */
	const TEXT = '/\A(?:(?:var)?char(?:\(\d{1,5}\))?|(?:tiny|medium|long)?text|text\(\d{1,10}\))\z/';
	const ENUM = '/\A(enum|set)\(((?:\'(?:[^\'\\\\]++|\\\\.|\'\')*+\'(?:,(?=\'))?)++)\)\z/s';

	/** Types that only MariaDB knows => what holds the same texts. */
	const MARIADB = array(
		'inet4' => 'varchar(15)',
		'inet6' => 'varchar(39)',
		'uuid'  => 'char(36)',
	);

	/** @var Db */
	private $db;

	/** @var Json */
	private $column;

	/** @var string What the column is called in an error. */
	private $member;

	/** @var Import_Expression */
	private $expressions;

	/** @var string The table's collation, which a column has by itself. */
	private $collation;

	public function __construct( Db $db, Json $column, string $member, Import_Expression $expressions, string $collation ) {
		$this->db          = $db;
		$this->column      = $column;
		$this->member      = $member;
		$this->expressions = $expressions;
		$this->collation   = $collation;
	}

	/** The column as a statement has it. */
	public function sql( array &$adjusted ): string {
		$mariadb = $this->db->is_mariadb();
		$type    = $this->type( $adjusted );
		$sql     = Db::name( (string) $this->column->any( 'name' ) ) . ' ' . $type . $this->charset( $type, $adjusted );
		$is_null = true === $this->column->any( 'nullable' );
		if ( $this->column->has( 'generated' ) ) {
			$generated = $this->column->part( 'generated' );
			$sql      .= ' GENERATED ALWAYS AS (' . $this->expression( $generated, 'generated' ) . ') ' . ( true === $generated->any( 'stored' ) ? 'STORED' : 'VIRTUAL' );
			// MariaDB does not take the words there.
			return $sql . ( $mariadb || $is_null ? '' : ' NOT NULL' ) . $this->attributes( $adjusted ) . $this->comment();
		}
		$sql .= $is_null ? ' NULL' : ' NOT NULL';
		$sql .= $this->default_value( $type );
		if ( $this->column->has( 'on_update' ) ) {
			$sql .= ' ON UPDATE CURRENT_TIMESTAMP' . self::digits( $this->column->number( 'on_update', 0, 6 ) );
		}
		$counts = true === $this->column->any( 'auto_increment' );
		$filled = $is_null || $counts || $this->column->has( 'default' );
		return $sql . ( $counts ? ' AUTO_INCREMENT' : '' ) . $this->attributes( $adjusted, $filled ) . $this->comment();
	}

	/** What only some servers know. MariaDB hides no column that must be given. */
	private function attributes( array &$adjusted, bool $filled = true ): string {
		$sql = '';
		if ( true === $this->column->any( 'invisible' ) ) {
			if ( $this->db->is_from( '8.0.23', $filled ? '10.3.3' : null ) ) {
				$sql .= ' INVISIBLE';
			} else {
				$adjusted[] = $this->lost( 'invisible', true );
			}
		}
		if ( $this->column->has( 'srid' ) ) {
			$srid = $this->column->any( 'srid' );
			if ( ! is_int( $srid ) || $srid < 0 || $srid > 4294967295 ) {
				throw $this->refused( 'srid' );
			}
			if ( $this->knows_system( $srid ) ) {
				$sql .= " SRID $srid";
			} else {
				$adjusted[] = $this->lost( 'srid', $srid );
			}
		}
		return $sql;
	}

	/** Whether shapes of a column can be held to this reference system. */
	private function knows_system( int $srid ): bool {
		return $this->db->is_from( '8.0.3', null )
			&& '1' === $this->db->value( "SELECT COUNT(*) FROM information_schema.ST_SPATIAL_REFERENCE_SYSTEMS WHERE SRS_ID = $srid" );
	}

	private function lost( string $what, $from ): array {
		return array(
			'member' => $this->member . '.' . $what,
			'from'   => $from,
			'to'     => null,
		);
	}

	private function type( array &$adjusted ): string {
		$type = $this->column->any( 'type' );
		if ( ! is_string( $type ) || strlen( $type ) > 262144 || 1 !== preg_match( '//u', $type ) ) {
			throw $this->refused( 'type' );
		}
		if ( 1 === preg_match( self::ENUM, $type, $found ) ) {
			preg_match_all( "/'((?:[^'\\\\]++|\\\\.|'')*+)'/s", $found[2], $items );
			$texts = array_map( array( Schema::class, 'unquoted' ), $items[1] );
			return $found[1] . '(' . implode( ',', array_map( array( $this->db, 'text' ), $texts ) ) . ')';
		}
		$type = strtolower( $type );
		if ( 1 !== preg_match( self::PLAIN, $type ) && 1 !== preg_match( self::TEXT, $type ) ) {
			throw $this->refused( 'type' );
		}
		if ( isset( self::MARIADB[ $type ] ) && ! $this->db->is_mariadb() ) {
			$adjusted[] = array(
				'member' => $this->member . '.type',
				'from'   => $type,
				'to'     => self::MARIADB[ $type ],
			);
			return self::MARIADB[ $type ];
		}
		return 'geomcollection' === $type ? 'geometrycollection' : $type;
	}

	private function charset( string $type, array &$adjusted ): string {
		if ( ! $this->column->has( 'charset' ) || ( 1 !== preg_match( self::TEXT, $type ) && 1 !== preg_match( '/\A(?:enum|set)\(/', $type ) ) ) {
			return '';
		}
		$wanted  = (string) $this->column->any( 'collation' );
		$charset = Import_Charsets::charset( $this->db, (string) $this->column->any( 'charset' ) );
		$known   = null === $charset ? null : Import_Charsets::collation( $this->db, $wanted, $charset );
		if ( null === $known ) {
			throw $this->refused( 'charset' );
		}
		if ( $known !== $wanted ) {
			$adjusted[] = array(
				'member' => $this->member . '.collation',
				'from'   => $wanted,
				'to'     => $known,
			);
		}
		return $wanted === $this->collation ? '' : " CHARACTER SET $charset COLLATE $known";
	}

	private function default_value( string $type ): string {
		$default = $this->column->part( 'default' );
		if ( null === $default ) {
			return '';
		}
		if ( $default->has( 'null' ) ) {
			return ' DEFAULT NULL';
		}
		if ( $default->has( 'now' ) ) {
			return ' DEFAULT CURRENT_TIMESTAMP' . self::digits( $default->number( 'now', 0, 6 ) );
		}
		if ( $default->has( 'expression' ) ) {
			return ' DEFAULT (' . $this->expression( $default, 'default' ) . ')';
		}
		if ( $default->has( 'hex' ) ) {
			$hex = $default->any( 'hex' );
			if ( ! is_string( $hex ) || strlen( $hex ) > 131070 || 1 !== preg_match( '/\A(?:[0-9a-f]{2})*+\z/', $hex ) ) {
				throw $this->refused( 'default' );
			}
			$value = "x'$hex'";
		} else {
			$text = $default->any( 'text' );
			$bits = 1 === preg_match( '/\Abit/', $type );
			if ( ! is_string( $text ) || ( $bits && 1 !== preg_match( '/\A[0-9]{1,20}\z/', $text ) ) ) {
				throw $this->refused( 'default' );
			}
			$value = $bits ? $text : $this->db->text( $text );
		}
		// MySQL takes defaults of long types in brackets only.
		$long = ! $this->db->is_mariadb() && 1 === preg_match( '/text|blob|json|geom|point|line|poly/', $type );
		return ' DEFAULT ' . ( $long && ! Tables::begins( $type, 'enum' ) && ! Tables::begins( $type, 'set' ) ? "($value)" : $value );
	}

	private function expression( Json $of, string $what ): string {
		$text = $of->any( 'expression' );
		$sql  = is_string( $text ) ? $this->expressions->checked( $text ) : null;
		if ( null === $sql ) {
			throw $this->refused( "$what.expression" );
		}
		return $sql;
	}

	private function comment(): string {
		$text = $this->column->any( 'comment' );
		if ( null !== $text && ( ! is_string( $text ) || 1 !== preg_match( '//u', $text ) ) ) {
			throw $this->refused( 'comment' );
		}
		return '' === (string) $text ? '' : ' COMMENT ' . $this->db->text( Import_Definition::cut( $text, 1024 ) );
	}

	private static function digits( int $digits ): string {
		return $digits > 0 ? "($digits)" : '';
	}

	private function refused( string $what ): Trouble {
		return Import_Definition::refused( "{$this->member}.$what" );
	}
}
