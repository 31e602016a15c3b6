<?php
/**
 * Inserts rows into a staged table. All values are bytes: on a connection without a charset they reach the table
 * unchanged.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Row_Inserter {
	/** A statement is sent when it has this length, if the server accepts so much. */
	const STATEMENT_BYTES = 524288;

	/** The length of a part of a large value, as it is stored and sent. */
	const PART_BYTES = 262144;

	/** If a row is too long for one statement, values longer than this are sent separately. */
	const SEPARATE_BYTES = 4096;

	/** Instead of a column: the row itself without its large values. */
	const ROW_COLUMN = 4294967295;

	/** The numbers of the database's errors for a row that equals another one in a unique index, or that violates a check. */
	const CONSTRAINT_ERRORS = array( 1062, 3819, 4025 );

	/** @var Database */
	private $db;

	/** @var int */
	private $id;

	/** @var string */
	private $begin;

	/** @var string[] How the values of each column are written: `text`, `ascii`, `bits` or `json`. */
	private $kinds = array();

	/** @var int The longest statement that the server accepts. */
	private $packet;

	/** @var int */
	private $statement;

	/** @var string */
	private $sql = '';

	/** @var int */
	private $warnings = 0;

	/** @var bool Whether the table has checks that the session need not enforce. */
	private $has_checks;

	public function __construct( Database $db, int $id, Json_Object $definition ) {
		$this->db        = $db;
		$this->id        = $id;
		$this->packet    = (int) $db->fetch_value( 'SELECT @@max_allowed_packet' );
		$this->statement = min( self::STATEMENT_BYTES, intdiv( $this->packet, 2 ) );
		$this->has_checks = $db->is_mariadb() && array() !== $definition->get_list( 'checks', Table_Builder::MAX_CHECKS, array() );
		$names           = array();
		foreach ( $definition->get_list( 'columns', Table_Builder::MAX_COLUMNS ) as $column ) {
			if ( isset( $column['generated'] ) ) {
				continue;
			}
			$names[]       = Database::identifier( $column['name'] );
			$this->kinds[] = self::kind( $column['type'], $db->is_mariadb() );
		}
		$this->begin = 'INSERT INTO ' . Database::identifier( Staged_Tables::staged_name( $id ) ) . ' (' . implode( ', ', $names ) . ') VALUES ';
	}

	private static function kind( string $type, bool $is_mariadb ): string {
		if ( 0 === strcasecmp( $type, 'json' ) && ! $is_mariadb ) {
			return 'json';
		}
		if ( 0 === strncasecmp( $type, 'bit', 3 ) ) {
			return 'bits';
		}
		return 1 === preg_match( '/\A(?:inet4|inet6|uuid)\z/i', $type ) ? 'ascii' : 'text';
	}

	/** The number of values of a row. */
	public function count(): int {
		return count( $this->kinds );
	}

	/** The number of warnings, mostly about values that the database changed. */
	public function warnings(): int {
		return $this->warnings;
	}

	/** Adds a row; it is sent together with others. */
	public function add( array $values ): void {
		$size  = strlen( $this->begin );
		$parts = array();
		foreach ( $values as $i => $value ) {
			if ( null === $value ) {
				$parts[] = 'NULL';
				continue;
			}
			// Escaping may double the length, so the size is checked first.
			$size += 2 * strlen( $value ) + 64;
			if ( $size > $this->packet ) {
				$this->insert_separately( $values, array() );
				return;
			}
			$parts[] = 'text' === $this->kinds[ $i ] ? $this->db->quote( $value ) : $this->literal( $this->kinds[ $i ], $value );
		}
		$row = '(' . implode( ',', $parts ) . ')';
		if ( '' !== $this->sql && strlen( $this->sql ) + strlen( $row ) > $this->statement ) {
			$this->flush();
		}
		$this->sql .= ( '' === $this->sql ? $this->begin : ',' ) . $row;
	}

	/** Inserts a row at once, unless a unique index or a check does not accept it; returns whether it did. */
	public function add_if_accepted( array $values ): bool {
		$this->finish();
		$this->enforce_checks( true );
		try {
			$this->add( $values );
			$this->finish();
			return true;
		} catch ( Migrator_Error $error ) {
			if ( ! in_array( $error->fields['errno'] ?? 0, self::CONSTRAINT_ERRORS, true ) ) {
				throw $error;
			}
			$this->sql = '';
			return false;
		} finally {
			$this->enforce_checks( false );
		}
	}

	/** Whether MariaDB evaluates checks from now on. It need not for values that come from the source; MySQL always does. */
	private function enforce_checks( bool $enforce ): void {
		if ( $this->has_checks ) {
			$this->db->try_execute( 'SET SESSION check_constraint_checks = ' . (int) $enforce );
		}
	}

	private function literal( string $kind, string $value ): string {
		if ( 'bits' === $kind ) {
			if ( 1 !== preg_match( '/\A[0-9]{1,20}\z/', $value ) ) {
				throw Migrator_Error::bad_request( 'frames' );
			}
			return $value;
		}
		if ( 'ascii' === $kind ) {
			// MariaDB takes a string without a charset for the bytes of such a value.
			return '_latin1 ' . $this->db->quote( $value );
		}
		return 'json' === $kind ? 'CONVERT(' . $this->db->quote( $value ) . ' USING utf8mb4)' : $this->db->quote( $value );
	}

	/** Sends the rows collected so far; more can be added while the server works on them. */
	private function flush(): void {
		if ( '' !== $this->sql ) {
			$this->db->send_async( $this->sql );
			$this->sql = '';
		}
	}

	/** Sends the rows collected so far and waits for the result. */
	public function finish(): void {
		$this->flush();
		$this->warnings += $this->db->await_pending();
	}

	/** Rejects values that this server never accepts, before their pieces are stored. */
	public function check_sizes( array $large ): void {
		foreach ( $large as $i => list( $size ) ) {
			if ( 'bits' === $this->kinds[ $i ] || $size <= 0 ) {
				throw Migrator_Error::bad_request( 'frames' );
			}
			$this->check_packet( $size );
		}
	}

	private function check_packet( int $size ): void {
		if ( $size >= $this->packet ) {
			throw new Migrator_Error( 'value_too_large', array( 'limit' => $this->packet - 1 ) );
		}
	}

	/** Stores bytes of a value or row whose other parts have not arrived. */
	public function store_part( int $col, int $start, string $bytes, int $from ): void {
		$step = min( self::PART_BYTES, intdiv( $this->packet, 4 ) );
		for ( $size = strlen( $bytes ); $from < $size; $from += $step, $start += $step ) {
			$this->db->execute( 'REPLACE INTO ' . Import_Job::table_identifier( 'value_parts' ) . " VALUES ({$this->id}, $col, $start, " . $this->db->quote( substr( $bytes, $from, $step ) ) . ')' );
		}
	}

	/** The stored row. */
	public function stored_row(): string {
		return implode( '', iterator_to_array( $this->stored_parts( self::ROW_COLUMN ), false ) );
	}

	/** Inserts a row whose large values were stored, and deletes the parts. */
	public function add_large( array $values, array $large ): void {
		$this->insert_separately( $values, $large );
		$this->db->execute( 'DELETE FROM ' . Import_Job::table_identifier( 'value_parts' ) . " WHERE table_id = {$this->id}" );
	}

	/** Inserts a single row; its long values are sent one by one, in parts. */
	private function insert_separately( array $values, array $large ): void {
		$this->flush();
		$parts    = array();
		$separate = array();
		foreach ( $values as $i => $value ) {
			if ( isset( $large[ $i ] ) || ( null !== $value && strlen( $value ) > self::SEPARATE_BYTES && 'bits' !== $this->kinds[ $i ] ) ) {
				$separate[] = $i;
				$parts[]    = 'json' === $this->kinds[ $i ] ? 'CONVERT(? USING utf8mb4)' : '?';
			} else {
				$parts[] = null === $value ? 'NULL' : $this->literal( $this->kinds[ $i ], $value );
			}
		}
		$statement = $this->db->prepare( $this->begin . '(' . implode( ',', $parts ) . ')' );
		$none      = array_fill( 0, count( $separate ), null );
		$statement->bind_param( str_repeat( 'b', count( $separate ) ), ...$none );
		foreach ( $separate as $position => $i ) {
			if ( isset( $large[ $i ] ) ) {
				$this->send_stored( $statement, $position, $i, $large[ $i ] );
			} else {
				$this->check_packet( strlen( $values[ $i ] ) );
				foreach ( str_split( $values[ $i ], min( self::PART_BYTES, intdiv( $this->packet, 4 ) ) ) as $bytes ) {
					$statement->send_long_data( $position, $bytes );
				}
			}
		}
		if ( ! $statement->execute() ) {
			throw $this->db->last_error();
		}
		$this->warnings += $this->db->last_warning_count();
		$statement->close();
	}

	/** Sends a large value part by part. If length or hash are wrong, the row changed at the source while it was read. */
	private function send_stored( \mysqli_stmt $statement, int $position, int $col, array $what ): void {
		$hash = hash_init( 'sha256' );
		$size = 0;
		foreach ( $this->stored_parts( $col ) as $bytes ) {
			hash_update( $hash, $bytes );
			$size += strlen( $bytes );
			$statement->send_long_data( $position, $bytes );
		}
		if ( $size !== $what[0] || ! hash_equals( $what[1], hash_final( $hash ) ) ) {
			throw new Migrator_Error( 'restart_table' );
		}
	}

	/** @return \Generator<int, string> */
	private function stored_parts( int $col ): \Generator {
		$at = 0;
		while ( true ) {
			$bytes = $this->db->fetch_value( 'SELECT bytes FROM ' . Import_Job::table_identifier( 'value_parts' ) . " WHERE table_id = {$this->id} AND col = $col AND start = $at" );
			if ( null === $bytes || '' === $bytes ) {
				return;
			}
			yield $bytes;
			$at += strlen( $bytes );
		}
	}
}
