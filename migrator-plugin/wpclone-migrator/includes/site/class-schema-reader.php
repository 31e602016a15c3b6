<?php
/**
 * Reads the definitions of tables, views and triggers as data.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Schema_Reader {
	/** @var Database */
	private $db;

	/** @var bool Whether information_schema has defaults as expressions, as MariaDB does since 10.2.7. */
	private $quoted_defaults;

	public function __construct( Database $db ) {
		$this->db              = $db;
		$this->quoted_defaults = $db->is_at_least( null, '10.2.7' );
		// MySQL 8 caches sizes and counters for a day by default; other servers do not know the variable.
		$db->try_execute( 'SET SESSION information_schema_stats_expiry = 0' );
	}

	/** Every table, view and trigger, prefixed with a digit that sorts tables first and triggers last. */
	public function sorted_names(): array {
		$names = array();
		$own   = Site_Tables::own_tables( $this->db );
		foreach ( $own as $name => $is_view ) {
			$names[] = ( $is_view ? '2' : '1' ) . $name;
		}
		foreach ( $this->db->fetch_all( 'SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()' ) as $row ) {
			if ( isset( $own[ $row[1] ] ) ) {
				$names[] = '3' . $row[0];
			}
		}
		sort( $names, SORT_STRING );
		return $names;
	}

	public function definition( string $kind, string $name ): ?array {
		if ( '1' === $kind ) {
			return $this->table_definition( $name );
		}
		$row = '2' === $kind ? $this->row( 'VIEWS', 'TABLE_SCHEMA', 'TABLE_NAME', $name, 'VIEW_DEFINITION, SECURITY_TYPE, DEFINER, CHECK_OPTION' )
			: $this->row( 'TRIGGERS', 'TRIGGER_SCHEMA', 'TRIGGER_NAME', $name, 'EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT, DEFINER' );
		if ( null === $row ) {
			return null;
		}
		$keys = '2' === $kind ? array( 'select', 'security', 'definer', 'check_option' ) : array( 'table', 'timing', 'event', 'body', 'definer' );
		return array(
			'kind' => '2' === $kind ? 'view' : 'trigger',
			'name' => $name,
		) + array_combine( $keys, $row );
	}

	/** @return array<int, string|null>|null */
	private function row( string $table, string $schema, string $column, string $name, string $select ): ?array {
		$rows = $this->db->fetch_all( "SELECT $select FROM information_schema.$table WHERE $schema = DATABASE() AND $column = " . Database::utf8_literal( $name ) );
		// Where names are case-insensitive, names that differ only in case are found together.
		return $rows[0] ?? null;
	}

	/** The definition of a table, or null if there is none. */
	public function table_definition( string $name ): ?array {
		$row = $this->row( 'TABLES', 'TABLE_SCHEMA', 'TABLE_NAME', $name, 'ENGINE, ROW_FORMAT, TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH, AUTO_INCREMENT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT' );
		if ( null === $row ) {
			return null;
		}
		$columns = $this->columns( $name );
		$indexes = $this->indexes( $name );
		return array(
			'kind'           => 'table',
			'name'           => $name,
			'engine'         => (string) $row[0],
			'charset'        => self::charset_of( (string) $row[6] ),
			'collation'      => (string) $row[6],
			'row_format'     => $row[1],
			'comment'        => (string) $row[8],
			'auto_increment' => null === $row[5] ? null : (int) $row[5],
			'partitioned'    => false !== stripos( (string) $row[7], 'partitioned' ),
			'rows'           => (int) $row[2],
			'data_bytes'     => (int) $row[3],
			'index_bytes'    => (int) $row[4],
			'key'            => self::key( $columns, $indexes ),
			'columns'        => $columns,
			'indexes'        => $indexes,
			'foreign_keys'   => $this->foreign_keys( $name ),
			'checks'         => $this->checks( $name ),
		);
	}

	private static function charset_of( string $collation ): string {
		return explode( '_', $collation )[0];
	}

	private function columns( string $table ): array {
		$found = array();
		// Only MySQL since 8.0.3 has SRS_ID.
		$rows = $this->db->fetch_all( 'SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, CHARACTER_SET_NAME, COLLATION_NAME, COLUMN_COMMENT, GENERATION_EXPRESSION /*!80003 , SRS_ID */ FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ' . Database::utf8_literal( $table ) . ' ORDER BY ORDINAL_POSITION' );
		foreach ( $rows as $row ) {
			$type      = trim( (string) preg_replace( '~/\*.*?\*/~', '', (string) $row[1] ) );
			$extra     = strtolower( (string) $row[4] );
			$nullable  = 'YES' === $row[2];
			$generated = null;
			if ( '' !== (string) $row[8] ) {
				$generated = array(
					'expression' => $this->expression( (string) $row[8] ),
					'stored'     => false !== strpos( $extra, 'stored' ) || false !== strpos( $extra, 'persistent' ),
				);
			}
			$found[] = array(
				'name'           => (string) $row[0],
				'type'           => $type,
				'nullable'       => $nullable,
				'default'        => null === $generated ? $this->default_of( Database::identifier( $table ), Database::identifier( (string) $row[0] ), $type, $nullable, $row[3], $extra ) : null,
				'auto_increment' => false !== strpos( $extra, 'auto_increment' ),
				'on_update'      => preg_match( '/on update current_timestamp(?:\((\d)?\))?/', $extra, $digits ) ? (int) ( $digits[1] ?? 0 ) : null,
				'charset'        => $row[5],
				'collation'      => $row[6],
				'comment'        => (string) $row[7],
				'generated'      => $generated,
				'invisible'      => 1 === preg_match( '/\binvisible\b/', $extra ),
				'srid'           => isset( $row[9] ) ? (int) $row[9] : null,
			);
		}
		return $found;
	}

	/** An expression without the escapes that MySQL adds. */
	private function expression( string $text ): string {
		return $this->db->is_mariadb() ? $text : stripslashes( $text );
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
			return is_numeric( $value ) ? array( 'text' => $value ) : array( 'expression' => $value );
		}
		if ( false !== strpos( $extra, 'default_generated' ) ) {
			return array( 'expression' => $this->expression( $value ) );
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

	private function indexes( string $table ): array {
		// Only MySQL 8 has functional indexes, and this column.
		$expression = $this->has_column( 'STATISTICS', 'EXPRESSION' ) ? 'EXPRESSION' : 'NULL';
		$rows       = $this->db->fetch_all( "SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, COLLATION, INDEX_TYPE, INDEX_COMMENT, $expression FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = " . Database::utf8_literal( $table ) . ' ORDER BY INDEX_NAME, SEQ_IN_INDEX' );
		$found      = array();
		foreach ( $rows as $row ) {
			$name = (string) $row[0];
			if ( ! isset( $found[ $name ] ) ) {
				$found[ $name ] = array(
					'name'    => $name,
					'unique'  => '0' === (string) $row[1],
					'kind'    => (string) $row[5],
					'comment' => (string) $row[6],
					'parts'   => array(),
				);
			}
			$part = null === $row[7] ? array( 'column' => (string) $row[2] ) : array( 'expression' => $this->expression( $row[7] ) );

			$found[ $name ]['parts'][] = $part + array(
				'length'     => null === $row[3] ? null : (int) $row[3],
				'descending' => 'D' === $row[4],
			);
		}
		return array_values( $found );
	}

	private function has_column( string $table, string $column ): bool {
		static $known = array();
		if ( ! isset( $known[ "$table.$column" ] ) ) {
			$known[ "$table.$column" ] = null !== $this->db->fetch_value( "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = '$table' AND COLUMN_NAME = '$column'" );
		}
		return $known[ "$table.$column" ];
	}

	private function foreign_keys( string $table ): array {
		$rows  = $this->db->fetch_all( 'SELECT k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL AND k.TABLE_NAME = ' . Database::utf8_literal( $table ) . ' ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION' );
		$found = array();
		foreach ( $rows as $row ) {
			$name = (string) $row[0];
			if ( ! isset( $found[ $name ] ) ) {
				$found[ $name ] = array(
					'name'       => $name,
					'columns'    => array(),
					'table'      => (string) $row[2],
					'references' => array(),
					'on_delete'  => (string) $row[4],
					'on_update'  => (string) $row[5],
				);
			}
			$found[ $name ]['columns'][]    = (string) $row[1];
			$found[ $name ]['references'][] = (string) $row[3];
		}
		return array_values( $found );
	}

	private function checks( string $table ): array {
		if ( $this->has_column( 'CHECK_CONSTRAINTS', 'TABLE_NAME' ) ) { // MariaDB.
			$sql = 'SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = ';
		} elseif ( $this->has_column( 'CHECK_CONSTRAINTS', 'CHECK_CLAUSE' ) ) {
			$sql = "SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME WHERE t.CONSTRAINT_TYPE = 'CHECK' AND c.CONSTRAINT_SCHEMA = DATABASE() AND t.TABLE_NAME = ";
		} else {
			return array();
		}
		$found = array();
		foreach ( $this->db->fetch_all( $sql . Database::utf8_literal( $table ) . ' ORDER BY 1' ) as $row ) {
			$found[] = array(
				'name'       => (string) $row[0],
				'expression' => $this->expression( (string) $row[1] ),
			);
		}
		return $found;
	}

	/**
	 * The columns that rows are paged by: those of the primary key, else of a unique index, if comparing them is exact and
	 * gives the order of the index.
	 *
	 * @return string[]
	 */
	public static function key( array $columns, array $indexes ): array {
		usort(
			$indexes,
			static function ( $a, $b ) {
				return array( 'PRIMARY' !== $a['name'], count( $a['parts'] ), $a['name'] ) <=> array( 'PRIMARY' !== $b['name'], count( $b['parts'] ), $b['name'] );
			}
		);
		$by_name = array_column( $columns, null, 'name' );
		foreach ( $indexes as $index ) {
			$names = array();
			foreach ( $index['parts'] as $part ) {
				$column  = $by_name[ $part['column'] ?? '' ] ?? null;
				$names[] = null !== $column && ! $column['nullable'] && null === $column['generated'] && null === $part['length'] && ! $part['descending']
					&& 1 !== preg_match( '/\A(?:float|double|real|enum|set|json|bit|inet|uuid)/i', $column['type'] ) ? $column['name'] : null;
			}
			if ( $index['unique'] && 'BTREE' === $index['kind'] && ! in_array( null, $names, true ) ) {
				return $names;
			}
		}
		return array();
	}
}
