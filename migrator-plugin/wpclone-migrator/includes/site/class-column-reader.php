<?php
/**
 * Reads the definitions of columns.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Column_Reader {
	/** What the columns with the begin and end of a row's version are generated as, in MariaDB. */
	const ROW_VERSION = array( 'ROW START', 'ROW END' );

	/** A comment after a type. */
	const TYPE_COMMENT = "~ ?/\\*[^']*\\*/\\z~";

	/** The default of a column that a sequence numbers: schema and name. */
	const NEXT_VALUE = '/\Anextval\(`((?:[^`]|``)+)`\.`((?:[^`]|``)+)`\)\z/i';

	/** @var Database */
	private $db;

	/** @var bool Whether information_schema has defaults as expressions, as MariaDB does since 10.2.7. */
	private $quoted_defaults;

	public function __construct( Database $db ) {
		$this->db              = $db;
		$this->quoted_defaults = $db->is_at_least( null, '10.2.7' );
	}

	/** The columns of a table, in order. */
	public function read( string $table ): array {
		$found = array();
		// Only MySQL since 8.0.3 has SRS_ID.
		$rows = $this->db->fetch_all( 'SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, CHARACTER_SET_NAME, COLLATION_NAME, COLUMN_COMMENT, GENERATION_EXPRESSION /*!80003 , SRS_ID */ FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ' . Database::utf8_literal( $table ) . ' ORDER BY ORDINAL_POSITION' );
		$expressions = new Expression_Sanitizer( $this->db, array_map( 'strval', array_column( $rows, 0 ) ) );
		foreach ( $rows as $row ) {
			// MariaDB adds a comment after the type: an old format of times, or that the values are compressed.
			$type       = (string) preg_replace( self::TYPE_COMMENT, '', (string) $row[1] );
			$extra      = strtolower( (string) $row[4] );
			$nullable   = 'YES' === $row[2];
			$expression = self::plain_expression( $this->db, (string) $row[8] );
			$generated  = null;
			$computed   = null;
			if ( in_array( strtoupper( $expression ), self::ROW_VERSION, true ) ) {
				$generated = array(
					'expression' => strtoupper( $expression ),
					'stored'     => true,
				);
			} elseif ( '' !== $expression && null === $expressions->sanitize( $expression ) ) {
				// No import can define it, so its values are copied.
				$computed = $expression;
			} elseif ( '' !== $expression ) {
				$generated = array(
					'expression' => $expression,
					'stored'     => false !== strpos( $extra, 'stored' ) || false !== strpos( $extra, 'persistent' ),
				);
			}
			$found[] = array(
				'name'           => (string) $row[0],
				'type'           => $type,
				'nullable'       => $nullable,
				'default'        => '' === $expression ? $this->default_of( Database::identifier( $table ), Database::identifier( (string) $row[0] ), $type, $nullable, $row[3], $extra ) : null,
				'auto_increment' => false !== strpos( $extra, 'auto_increment' ),
				'on_update'      => preg_match( '/on update current_timestamp(?:\((\d)?\))?/', $extra, $digits ) ? (int) ( $digits[1] ?? 0 ) : null,
				'charset'        => $row[5],
				'collation'      => $row[6],
				'comment'        => (string) $row[7],
				'generated'      => $generated,
				'invisible'      => 1 === preg_match( '/\binvisible\b/', $extra ),
				'srid'           => isset( $row[9] ) ? (int) $row[9] : null,
				'computed'       => $computed,
				'compressed'     => 1 === preg_match( '~ /\*M!\d+ COMPRESSED\*/\z~', (string) $row[1] ),
				'unversioned'    => false !== strpos( $extra, 'without system versioning' ),
			);
		}
		return $found;
	}

	/** An expression without the escapes that MySQL adds. */
	public static function plain_expression( Database $db, string $text ): string {
		return $db->is_mariadb() ? $text : stripslashes( $text );
	}

	/**
	 * The default of a column; both names are quoted identifiers.
	 *
	 * @return array<string, mixed>|null
	 */
	private function default_of( string $table, string $column, string $type, bool $nullable, ?string $value, string $extra ): ?array {
		if ( null === $value ) {
			return $nullable && ! $this->quoted_defaults ? array( 'null' => true ) : null;
		}
		if ( preg_match( '/\Acurrent_timestamp(?:\((\d)?\))?\z/i', $value, $digits ) && preg_match( '/\A(?:timestamp|datetime)/i', $type ) ) {
			return array( 'now' => (int) ( $digits[1] ?? 0 ) );
		}
		if ( preg_match( "/\\Ab'([01]*)'\\z/", $value, $bits ) ) {
			return array( 'text' => (string) bindec( '0' . $bits[1] ) );
		}
		if ( $this->quoted_defaults ) {
			if ( 0 === strcasecmp( 'NULL', $value ) ) {
				return array( 'null' => true );
			}
			if ( preg_match( "/\\A'(.*)'\\z/s", $value, $quoted ) ) {
				return self::text_or_hex( self::unescape_literal( $quoted[1] ) );
			}
			if ( preg_match( self::NEXT_VALUE, $value, $names ) && str_replace( '``', '`', $names[1] ) === DB_NAME ) {
				return array( 'sequence' => str_replace( '``', '`', $names[2] ) );
			}
			return is_numeric( $value ) ? array( 'text' => $value ) : array( 'expression' => $value );
		}
		if ( false !== strpos( $extra, 'default_generated' ) ) {
			return array( 'expression' => self::plain_expression( $this->db, $value ) );
		}
		if ( preg_match( '/\A(?:var)?binary/i', $type ) && preg_match( '/\A0x((?:[0-9a-f]{2})*)\z/i', $value, $hex ) ) {
			return array( 'hex' => $this->binary_default( $table, $column, strtolower( $hex[1] ) ) );
		}
		return self::text_or_hex( $value );
	}

	/** A binary default as hex. MySQL's information_schema truncates it at the first zero byte; SHOW CREATE TABLE has all of it. */
	private function binary_default( string $table, string $column, string $shown ): string {
		$statement = $this->db->fetch_all( "SHOW CREATE TABLE $table" )[0][1] ?? '';
		$default   = '/^  ' . preg_quote( $column, '/' ) . " (?:var)?binary\\(\\d+\\)(?: NOT NULL)? DEFAULT '((?:[^'\\\\]|\\\\.|'')*)'/ims";
		$whole     = preg_match( $default, $statement, $found ) ? bin2hex( self::unescape_literal( $found[1] ) ) : '';
		// There bytes that are not text may be shown differently.
		return 0 === strncmp( $whole, $shown, strlen( $shown ) ) ? $whole : $shown;
	}

	private static function text_or_hex( string $value ): array {
		return 1 === preg_match( '//u', $value ) ? array( 'text' => $value ) : array( 'hex' => bin2hex( $value ) );
	}

	/** The value of the inside of a string literal. */
	public static function unescape_literal( string $text ): string {
		return (string) preg_replace_callback(
			"/''|\\\\(.)/s",
			static function ( $found ) {
				$known = array(
					'n' => "\n",
					'r' => "\r",
					't' => "\t",
					'0' => "\0",
					'Z' => "\x1a",
				);
				return "''" === $found[0] ? "'" : ( $known[ $found[1] ] ?? $found[1] );
			},
			$text
		);
	}
}
