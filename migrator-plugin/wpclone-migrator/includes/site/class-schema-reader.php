<?php
/**
 * Reads the definitions of tables, views, triggers and sequences as data.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Schema_Reader {
	/** What the digits of sorted_names() stand for. */
	const OBJECTS = array( 'sequence', 'table', 'view', 'trigger', 'program' );

	/** The longest text of SHOW CREATE TABLE that is reported. */
	const MAX_STATEMENT_BYTES = 262144;

	/** @var Database */
	private $db;

	/** @var Column_Reader */
	private $columns;

	/** @var array{0: ?string, 1: string} The table that create_statement() was last called for, and its result. */
	private $last_statement = array( null, '' );

	public function __construct( Database $db ) {
		$this->db      = $db;
		$this->columns = new Column_Reader( $db );
		// MySQL 8 caches sizes and counters for a day by default; other servers do not know the variable.
		$db->try_execute( 'SET SESSION information_schema_stats_expiry = 0' );
	}

	/**
	 * Every table, view, trigger, sequence and stored program, prefixed with a digit that sorts them: sequences, tables, views,
	 * triggers, programs. The name of a program follows its kind and a space.
	 *
	 * @param array<string, string> $own As Site_Tables::requested_tables() returns them.
	 */
	public function sorted_names( array $own ): array {
		$names = array();
		$kinds = array(
			Site_Tables::SEQUENCE => '0',
			Site_Tables::VIEW     => '2',
		);
		foreach ( $own as $name => $type ) {
			$names[] = ( $kinds[ $type ] ?? '1' ) . $name;
		}
		foreach ( $this->db->fetch_all( 'SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()' ) as $row ) {
			if ( isset( $own[ $row[1] ] ) ) {
				$names[] = '3' . $row[0];
			}
		}
		foreach ( $this->programs() as list( $object, $name ) ) {
			$names[] = '4' . strtolower( $object ) . ' ' . $name;
		}
		sort( $names, SORT_STRING );
		return $names;
	}

	/** The kind and name of each procedure, function and event of the database. */
	private function programs(): array {
		$found = array();
		foreach ( array( "ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE <> 'PACKAGE BODY' AND ROUTINE_SCHEMA", "'event', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA" ) as $select ) {
			try {
				$found = array_merge( $found, $this->db->fetch_all( "SELECT $select = DATABASE()" ) );
			} catch ( Migrator_Error $error ) {
				// The server's own tables, where it keeps them, may be of an older version.
				continue;
			}
		}
		return $found;
	}

	/** The definition of an object, or what the database says if it cannot read the object. Null if there is none. */
	public function definition( string $kind, string $name ): ?array {
		try {
			return $this->readable_definition( $kind, $name );
		} catch ( Migrator_Error $error ) {
			if ( 'database_error' !== $error->error_code ) {
				throw $error;
			}
			return array(
				'kind'   => 'unreadable',
				'name'   => $name,
				'object' => self::OBJECTS[ $kind ],
			) + $error->fields;
		}
	}

	private function readable_definition( string $kind, string $name ): ?array {
		if ( '4' === $kind ) {
			list( $object, $name ) = explode( ' ', $name, 2 );
			return array(
				'kind'   => 'program',
				'name'   => $name,
				'object' => $object,
			);
		}
		$table = Database::identifier( $name );
		if ( '0' === $kind ) {
			return $this->sequence_definition( $name );
		}
		if ( '1' === $kind ) {
			// A table whose file or engine is missing or damaged still has a definition.
			$this->db->fetch_all( "SELECT 1 FROM $table LIMIT 1" );
			$definition = $this->table_definition( $name );
			return null === $definition ? null : $definition + array( 'statement' => $this->create_statement( $name ) );
		}
		if ( '2' === $kind ) {
			// A view may lead to what is no more.
			$this->db->fetch_all( "SELECT 1 FROM $table LIMIT 0" );
		}
		$row = '2' === $kind ? $this->row( 'VIEWS', 'TABLE_SCHEMA', 'TABLE_NAME', $name, 'VIEW_DEFINITION, SECURITY_TYPE, DEFINER, CHECK_OPTION' )
			: $this->row( 'TRIGGERS', 'TRIGGER_SCHEMA', 'TRIGGER_NAME', $name, 'EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT, DEFINER, SQL_MODE, ACTION_ORDER' );
		if ( null === $row ) {
			return null;
		}
		if ( '2' === $kind ) {
			return array(
				'kind'      => 'view',
				'name'      => $name,
				'algorithm' => $this->algorithm( $table ),
				// MySQL reports the query without the names that the columns were given by the view.
				'columns'   => array_column( $this->db->fetch_all( "SHOW COLUMNS FROM $table" ), 0 ),
			) + array_combine( array( 'select', 'security', 'definer', 'check_option' ), $row );
		}
		$trigger          = array_combine( array( 'table', 'timing', 'event', 'body', 'definer', 'sql_mode', 'order' ), $row );
		$trigger['order'] = (int) $trigger['order'];
		return array(
			'kind' => 'trigger',
			'name' => $name,
		) + $trigger;
	}

	/** The algorithm of a view, which only MariaDB has in information_schema. Null if this user may not see it. */
	private function algorithm( string $view ): ?string {
		try {
			$statement = (string) ( $this->db->fetch_all( "SHOW CREATE VIEW $view" )[0][1] ?? '' );
		} catch ( Migrator_Error $error ) {
			return null;
		}
		return 1 === preg_match( '/\ACREATE ALGORITHM=([A-Z]+) /', $statement, $found ) ? $found[1] : null;
	}

	/** @return array<int, string|null>|null */
	private function row( string $table, string $schema, string $column, string $name, string $select ): ?array {
		$rows = $this->db->fetch_all( "SELECT $select FROM information_schema.$table WHERE $schema = DATABASE() AND $column = " . Database::utf8_literal( $name ) );
		// Where names are case-insensitive, names that differ only in case are found together.
		return $rows[0] ?? null;
	}

	/** The text of SHOW CREATE TABLE, to be compared; it is never executed. Empty if it is very long. */
	public function create_statement( string $table ): string {
		if ( $table !== $this->last_statement[0] ) {
			$text                 = (string) ( $this->db->fetch_all( 'SHOW CREATE TABLE ' . Database::identifier( $table ) )[0][1] ?? '' );
			$this->last_statement = array( $table, strlen( $text ) <= self::MAX_STATEMENT_BYTES ? $text : '' );
		}
		return $this->last_statement[1];
	}

	/** The state of a sequence. Its numbers are text: they may need 64 bits without a sign. */
	private function sequence_definition( string $name ): ?array {
		$columns = array(
			'next'      => 'next_not_cached_value',
			'min'       => 'minimum_value',
			'max'       => 'maximum_value',
			'start'     => 'start_value',
			'increment' => 'increment',
			'cache'     => 'cache_size',
			'round'     => 'cycle_count',
			'cycle'     => 'cycle_option',
		);
		$row     = $this->db->fetch_all( 'SELECT ' . implode( ', ', $columns ) . ' FROM ' . Database::identifier( $name ) )[0] ?? null;
		if ( null === $row ) {
			return null;
		}
		$fields          = array_combine( array_keys( $columns ), $row );
		$fields['cycle'] = '1' === (string) $fields['cycle'];
		return array(
			'kind' => 'sequence',
			'name' => $name,
		) + $fields;
	}

	/** The definition of a table, or null if there is none. */
	public function table_definition( string $name ): ?array {
		$row = $this->row( 'TABLES', 'TABLE_SCHEMA', 'TABLE_NAME', $name, 'ENGINE, ROW_FORMAT, TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH, AUTO_INCREMENT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT, TABLE_TYPE' );
		if ( null === $row ) {
			return null;
		}
		$periods   = array();
		$exclusive = array();
		if ( $this->db->is_at_least( null, '10.3.4' ) ) {
			$statement = new Create_Statement( $this->create_statement( $name ) );
			$periods   = $statement->periods();
			$exclusive = $statement->without_overlaps();
		}
		$columns = $this->columns->read( $name );
		$indexes = $this->indexes( $name, $columns, $periods, $exclusive );
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
			'versioned'      => Site_Tables::VERSIONED === $row[9],
			'periods'        => $periods,
			'rows'           => (int) $row[2],
			'data_bytes'     => (int) $row[3],
			'index_bytes'    => (int) $row[4],
			'key'            => self::key( $columns, $indexes ),
			'columns'        => $columns,
			'indexes'        => $indexes,
			'foreign_keys'   => $this->foreign_keys( $name ),
			'checks'         => $this->checks( $name, array_column( $periods, 'name' ) ),
		);
	}

	private static function charset_of( string $collation ): string {
		return explode( '_', $collation )[0];
	}

	/**
	 * The indexes of a table, in the order that the server checks them. Columns that the server adds to an index by itself, the
	 * end of a row's version and the ends of a period, are no parts.
	 */
	private function indexes( string $table, array $columns, array $periods, array $exclusive ): array {
		// Only MySQL 8 has functional indexes, and this column.
		$expression = $this->has_column( 'STATISTICS', 'EXPRESSION' ) ? 'EXPRESSION' : 'NULL';
		$unused     = $this->has_column( 'STATISTICS', 'IGNORED' ) ? "IGNORED = 'YES'" : ( $this->has_column( 'STATISTICS', 'IS_VISIBLE' ) ? "IS_VISIBLE = 'NO'" : '0' );
		$stored     = array();
		foreach ( $columns as $column ) {
			$stored[ $column['name'] ] = null === $column['generated'] || ! in_array( $column['generated']['expression'], Column_Reader::ROW_VERSION, true );
		}
		$rows       = $this->db->fetch_all( "SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, COLLATION, INDEX_TYPE, INDEX_COMMENT, $expression, $unused FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = " . Database::utf8_literal( $table ) . ' ORDER BY INDEX_NAME, SEQ_IN_INDEX' );
		$found      = array();
		foreach ( $rows as $row ) {
			$name = (string) $row[0];
			if ( ! isset( $found[ $name ] ) ) {
				$found[ $name ] = array(
					'name'    => $name,
					'unique'  => '0' === (string) $row[1],
					'kind'    => (string) $row[5],
					'comment' => (string) $row[6],
					'ignored' => '1' === (string) $row[8],
					'parts'   => array(),
					'without_overlaps' => $exclusive[ $name ] ?? null,
				);
			}
			if ( null === $row[7] && ( ! ( $stored[ (string) $row[2] ] ?? false ) || self::is_end_of_period( (string) $row[2], $periods, $exclusive[ $name ] ?? null ) ) ) {
				continue;
			}
			$part = null === $row[7] ? array( 'column' => (string) $row[2] ) : array( 'expression' => Column_Reader::plain_expression( $this->db, $row[7] ) );

			$found[ $name ]['parts'][] = $part + array(
				'length'     => null === $row[3] ? null : (int) $row[3],
				'descending' => 'D' === $row[4],
			);
		}
		// INSERT ... ON DUPLICATE KEY UPDATE changes the row that the first unique index finds.
		$place = array_flip( array_column( $this->db->fetch_all( 'SHOW INDEX FROM ' . Database::identifier( $table ) ), 2 ) );
		uksort(
			$found,
			static function ( $a, $b ) use ( $place ) {
				return ( $place[ $a ] ?? PHP_INT_MAX ) <=> ( $place[ $b ] ?? PHP_INT_MAX );
			}
		);
		return array_values( $found );
	}

	private static function is_end_of_period( string $column, array $periods, ?string $of ): bool {
		foreach ( $periods as $period ) {
			if ( $of === $period['name'] && in_array( $column, array( $period['from'], $period['to'] ), true ) ) {
				return true;
			}
		}
		return false;
	}

	private function has_column( string $table, string $column ): bool {
		static $known = array();
		if ( ! isset( $known[ "$table.$column" ] ) ) {
			$known[ "$table.$column" ] = null !== $this->db->fetch_value( "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = '$table' AND COLUMN_NAME = '$column'" );
		}
		return $known[ "$table.$column" ];
	}

	/** The foreign keys of a table. A table of another database, which is never copied, is named with that database. */
	private function foreign_keys( string $table ): array {
		$rows  = $this->db->fetch_all( 'SELECT k.CONSTRAINT_NAME, k.COLUMN_NAME, IF(k.REFERENCED_TABLE_SCHEMA = k.TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, CONCAT(k.REFERENCED_TABLE_SCHEMA, \'.\', k.REFERENCED_TABLE_NAME)), k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL AND k.TABLE_NAME = ' . Database::utf8_literal( $table ) . ' ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION' );
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

	/** The checks of a table but those that MariaDB adds for a period, under its name. */
	private function checks( string $table, array $periods ): array {
		if ( $this->has_column( 'CHECK_CONSTRAINTS', 'TABLE_NAME' ) ) { // MariaDB.
			$sql = 'SELECT CONSTRAINT_NAME, CHECK_CLAUSE, NULL FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = ';
		} elseif ( $this->has_column( 'CHECK_CONSTRAINTS', 'CHECK_CLAUSE' ) ) {
			$sql = "SELECT c.CONSTRAINT_NAME, c.CHECK_CLAUSE, t.ENFORCED FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME WHERE t.CONSTRAINT_TYPE = 'CHECK' AND c.CONSTRAINT_SCHEMA = DATABASE() AND t.TABLE_NAME = ";
		} else {
			return array();
		}
		$found = array();
		foreach ( $this->db->fetch_all( $sql . Database::utf8_literal( $table ) . ' ORDER BY 1' ) as $row ) {
			if ( in_array( (string) $row[0], $periods, true ) ) {
				continue;
			}
			$found[] = array(
				'name'       => (string) $row[0],
				'expression' => Column_Reader::plain_expression( $this->db, (string) $row[1] ),
				'enforced'   => 'NO' !== $row[2],
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
			// What does not overlap is unique only together with its period.
			if ( $index['unique'] && null === $index['without_overlaps'] && $names && 'BTREE' === $index['kind'] && ! in_array( null, $names, true ) ) {
				return $names;
			}
		}
		return array();
	}
}
