<?php
/**
 * Builds the SQL of a column from its definition.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Column_Builder {
	/** Types without a charset, as a pattern of the whole type. */
	const PLAIN = '/\A(?:(?:tinyint|smallint|mediumint|int|integer|bigint)(?:\(\d{1,3}\))?(?: unsigned)?(?: zerofill)?'
		. '|(?:decimal|numeric|float|double|real)(?:\(\d{1,3}(?:,\d{1,2})?\))?(?: unsigned)?(?: zerofill)?'
		. '|bit(?:\(\d{1,2}\))?|date|year(?:\(\d\))?|(?:datetime|timestamp|time)(?:\([0-6]\))?'
		. '|(?:var)?binary(?:\(\d{1,5}\))?|(?:tiny|medium|long)?blob|blob\(\d{1,10}\)'
		. '|json|geometry|point|linestring|polygon|multipoint|multilinestring|multipolygon|geometrycollection|geomcollection'
		. '|inet4|inet6|uuid|vector\(\d{1,5}\))\z/';

	/** Text types; enum and set contain literals. */
	const TEXT = '/\A(?:(?:var)?char(?:\(\d{1,5}\))?|(?:tiny|medium|long)?text|text\(\d{1,10}\))\z/';
	const ENUM = '/\A(enum|set)\(((?:\'(?:[^\'\\\\]++|\\\\.|\'\')*+\'(?:,(?=\'))?)++)\)\z/s';

	/** Types that only MariaDB has => types that hold the same text. */
	const MARIADB = array(
		'inet4' => 'varchar(15)',
		'inet6' => 'varchar(39)',
		'uuid'  => 'char(36)',
	);

	/** @var Database */
	private $db;

	/** @var Json_Object */
	private $column;

	/** @var string The path of the column in error messages. */
	private $field;

	/** @var Expression_Sanitizer */
	private $expressions;

	/** @var string The table's collation, which columns inherit. */
	private $collation;

	public function __construct( Database $db, Json_Object $column, string $field, Expression_Sanitizer $expressions, string $collation ) {
		$this->db          = $db;
		$this->column      = $column;
		$this->field       = $field;
		$this->expressions = $expressions;
		$this->collation   = $collation;
	}

	/** The SQL of the column. */
	public function sql( array &$adjustments ): string {
		$mariadb = $this->db->is_mariadb();
		$type    = $this->type( $adjustments );
		$sql     = Database::identifier( (string) $this->column->get( 'name' ) ) . ' ' . $type . $this->charset( $type, $adjustments );
		$is_null = true === $this->column->get( 'nullable' );
		if ( $this->column->has( 'generated' ) ) {
			$generated = $this->column->get_object( 'generated' );
			if ( in_array( $generated->get( 'expression' ), Column_Reader::ROW_VERSION, true ) ) {
				return $sql . $this->row_version( (string) $generated->get( 'expression' ) ) . $this->attributes( $adjustments ) . $this->comment();
			}
			$sql      .= ' GENERATED ALWAYS AS (' . $this->expression( $generated, 'generated' ) . ') ' . ( true === $generated->get( 'stored' ) ? 'STORED' : 'VIRTUAL' );
			// MariaDB does not accept NOT NULL here.
			return $sql . ( $mariadb || $is_null ? '' : ' NOT NULL' ) . $this->attributes( $adjustments ) . $this->comment();
		}
		$sql .= $is_null ? ' NULL' : ' NOT NULL';
		$sql .= $this->default_value( $type, $adjustments );
		if ( $this->column->has( 'on_update' ) ) {
			$sql .= ' ON UPDATE CURRENT_TIMESTAMP' . self::digits( $this->column->get_int( 'on_update', 0, 6 ) );
		}
		$auto_increment = true === $this->column->get( 'auto_increment' );
		$has_value      = $is_null || $auto_increment || $this->column->has( 'default' );
		return $sql . ( $auto_increment ? ' AUTO_INCREMENT' : '' ) . $this->attributes( $adjustments, $has_value ) . $this->comment();
	}

	/** The begin or end of a row's version. Only MariaDB has such columns. */
	private function row_version( string $which ): string {
		if ( ! $this->db->is_at_least( null, Table_Builder::VERSIONING_SINCE ) ) {
			throw $this->rejected( 'generated.expression' );
		}
		return " GENERATED ALWAYS AS $which";
	}

	/** Attributes that only some servers have. MariaDB allows INVISIBLE only for columns that have a value by default. */
	private function attributes( array &$adjustments, bool $has_value = true ): string {
		$sql = '';
		if ( true === $this->column->get( 'unversioned' ) ) {
			if ( $this->db->is_at_least( null, Table_Builder::VERSIONING_SINCE ) ) {
				$sql .= ' WITHOUT SYSTEM VERSIONING';
			} else {
				$adjustments[] = $this->dropped( 'unversioned', true );
			}
		}
		if ( true === $this->column->get( 'invisible' ) ) {
			if ( $this->db->is_at_least( '8.0.23', $has_value ? '10.3.3' : null ) ) {
				$sql .= ' INVISIBLE';
			} else {
				$adjustments[] = $this->dropped( 'invisible', true );
			}
		}
		if ( $this->column->has( 'srid' ) ) {
			$srid = $this->column->get( 'srid' );
			if ( ! is_int( $srid ) || $srid < 0 || $srid > 4294967295 ) {
				throw $this->rejected( 'srid' );
			}
			if ( $this->supports_srid( $srid ) ) {
				$sql .= " SRID $srid";
			} else {
				$adjustments[] = $this->dropped( 'srid', $srid );
			}
		}
		return $sql;
	}

	/** Whether the server has this spatial reference system and can restrict a column to it. */
	private function supports_srid( int $srid ): bool {
		return $this->db->is_at_least( '8.0.3', null )
			&& '1' === $this->db->fetch_value( "SELECT COUNT(*) FROM information_schema.ST_SPATIAL_REFERENCE_SYSTEMS WHERE SRS_ID = $srid" );
	}

	private function dropped( string $what, $from ): array {
		return array(
			'field' => $this->field . '.' . $what,
			'from'  => $from,
			'to'    => null,
		);
	}

	private function type( array &$adjustments ): string {
		$type = $this->column->get( 'type' );
		if ( ! is_string( $type ) || strlen( $type ) > 262144 || 1 !== preg_match( '//u', $type ) ) {
			throw $this->rejected( 'type' );
		}
		if ( 1 === preg_match( self::ENUM, $type, $found ) ) {
			preg_match_all( "/'((?:[^'\\\\]++|\\\\.|'')*+)'/s", $found[2], $items );
			$texts = array_map( array( Column_Reader::class, 'unescape_literal' ), $items[1] );
			return $found[1] . '(' . implode( ',', array_map( array( $this->db, 'quote' ), $texts ) ) . ')';
		}
		$type = strtolower( $type );
		if ( 1 !== preg_match( self::PLAIN, $type ) && 1 !== preg_match( self::TEXT, $type ) ) {
			throw $this->rejected( 'type' );
		}
		if ( isset( self::MARIADB[ $type ] ) && ! $this->db->is_mariadb() ) {
			$adjustments[] = array(
				'field' => $this->field . '.type',
				'from'  => $type,
				'to'    => self::MARIADB[ $type ],
			);
			return self::MARIADB[ $type ];
		}
		return ( 'geomcollection' === $type ? 'geometrycollection' : $type ) . $this->compression( $adjustments );
	}

	/** Whether the server compresses the values of a column. It belongs to the type. */
	private function compression( array &$adjustments ): string {
		if ( true !== $this->column->get( 'compressed' ) ) {
			return '';
		}
		if ( $this->db->is_at_least( null, '10.3.2' ) ) {
			return ' COMPRESSED';
		}
		$adjustments[] = $this->dropped( 'compressed', true );
		return '';
	}

	private function charset( string $type, array &$adjustments ): string {
		$plain = str_replace( ' COMPRESSED', '', $type );
		if ( ! $this->column->has( 'charset' ) || ( 1 !== preg_match( self::TEXT, $plain ) && 1 !== preg_match( '/\A(?:enum|set)\(/', $type ) ) ) {
			return '';
		}
		$requested = (string) $this->column->get( 'collation' );
		$charset   = Charset_Mapper::charset( $this->db, (string) $this->column->get( 'charset' ) );
		$known     = null === $charset ? null : Charset_Mapper::collation( $this->db, $requested, $charset );
		if ( null === $known ) {
			throw $this->rejected( 'charset' );
		}
		if ( $known !== $requested ) {
			$adjustments[] = array(
				'field' => $this->field . '.collation',
				'from'  => $requested,
				'to'    => $known,
			);
		}
		return $requested === $this->collation ? '' : " CHARACTER SET $charset COLLATE $known";
	}

	private function default_value( string $type, array &$adjustments ): string {
		$default = $this->column->get_object( 'default' );
		if ( null === $default ) {
			return '';
		}
		if ( $default->has( 'sequence' ) ) {
			// The sequence gets its name with the swap, and the column its default then.
			if ( ! Sequences::are_supported( $this->db ) ) {
				$adjustments[] = $this->dropped( 'default', $default->get( 'sequence' ) );
			}
			return '';
		}
		if ( $default->has( 'null' ) ) {
			return ' DEFAULT NULL';
		}
		if ( $default->has( 'now' ) ) {
			return ' DEFAULT CURRENT_TIMESTAMP' . self::digits( $default->get_int( 'now', 0, 6 ) );
		}
		if ( $default->has( 'expression' ) ) {
			return ' DEFAULT (' . $this->expression( $default, 'default' ) . ')';
		}
		if ( $default->has( 'hex' ) ) {
			$hex = $default->get( 'hex' );
			if ( ! is_string( $hex ) || strlen( $hex ) > 131070 || 1 !== preg_match( '/\A(?:[0-9a-f]{2})*+\z/', $hex ) ) {
				throw $this->rejected( 'default' );
			}
			$value = "x'$hex'";
		} else {
			$text = $default->get( 'text' );
			$bits = 1 === preg_match( '/\Abit/', $type );
			if ( ! is_string( $text ) || ( $bits && 1 !== preg_match( '/\A[0-9]{1,20}\z/', $text ) ) ) {
				throw $this->rejected( 'default' );
			}
			$value = $bits ? $text : $this->db->quote( $text );
		}
		// MySQL requires parentheses around defaults of long types.
		$long = ! $this->db->is_mariadb() && 1 === preg_match( '/text|blob|json|geom|point|line|poly/', $type );
		return ' DEFAULT ' . ( $long && ! Site_Tables::starts_with( $type, 'enum' ) && ! Site_Tables::starts_with( $type, 'set' ) ? "($value)" : $value );
	}

	private function expression( Json_Object $of, string $what ): string {
		$text = $of->get( 'expression' );
		$sql  = is_string( $text ) ? $this->expressions->sanitize( $text ) : null;
		if ( null === $sql ) {
			throw $this->rejected( "$what.expression" );
		}
		return $sql;
	}

	private function comment(): string {
		$text = $this->column->get( 'comment' );
		if ( null !== $text && ( ! is_string( $text ) || 1 !== preg_match( '//u', $text ) ) ) {
			throw $this->rejected( 'comment' );
		}
		return '' === (string) $text ? '' : ' COMMENT ' . $this->db->quote( Table_Builder::truncate( $text, 1024 ) );
	}

	private static function digits( int $digits ): string {
		return $digits > 0 ? "($digits)" : '';
	}

	private function rejected( string $what ): Migrator_Error {
		return Table_Builder::rejected( "{$this->field}.$what" );
	}
}
