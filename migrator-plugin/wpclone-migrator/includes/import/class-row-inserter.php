<?php
/**
 * Statements that put rows into a table. All values are bytes: on a connection without a charset they reach the table
 * as they are.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Row_Inserter {
	/** A statement is sent when it has so many bytes, if the server takes so many. */
	const STATEMENT_BYTES = 524288;

	/** Bytes of a piece as it is kept and sent. */
	const PART_BYTES = 262144;

	/** Values with more bytes are sent apart when the whole row is too long for a statement. */
	const SEPARATE_BYTES = 4096;

	/** In the place of a column: the row itself, with its values that are not large. */
	const ROW_COLUMN = 4294967295;

	/** @var Database */
	private $db;

	/** @var int */
	private $id;

	/** @var string */
	private $begin;

	/** @var string[] How each column's values are written: `text`, `bits`, `json`. */
	private $kinds = array();

	/** @var int The longest statement that the server takes, with something to spare. */
	private $packet;

	/** @var int */
	private $statement;

	/** @var string */
	private $sql = '';

	/** @var int */
	private $warnings = 0;

	public function __construct( Database $db, int $id, Json_Object $definition ) {
		$this->db        = $db;
		$this->id         = $id;
		$this->packet    = (int) $db->fetch_value( 'SELECT @@max_allowed_packet' );
		$this->statement = min( self::STATEMENT_BYTES, intdiv( $this->packet, 2 ) );
		$names           = array();
		foreach ( $definition->get_list( 'columns', Table_Builder::MAX_COLUMNS ) as $column ) {
			if ( isset( $column['generated'] ) ) {
				continue;
			}
			$names[]       = Database::identifier( $column['name'] );
			$is_json       = 0 === strcasecmp( $column['type'], 'json' ) && ! $db->is_mariadb();
			$this->kinds[] = $is_json ? 'json' : ( 0 === strncasecmp( $column['type'], 'bit', 3 ) ? 'bits' : 'text' );
		}
		$this->begin = 'INSERT INTO ' . Database::identifier( Staged_Tables::staged_name( $id ) ) . ' (' . implode( ', ', $names ) . ') VALUES ';
	}

	/** How many values a row has. */
	public function count(): int {
		return count( $this->kinds );
	}

	/** How many warnings there were: values that the database did not take as they are, mostly. */
	public function warnings(): int {
		return $this->warnings;
	}

	/** Puts a row in; sent with those after it. */
	public function add( array $values ): void {
		$size  = strlen( $this->begin );
		$parts = array();
		foreach ( $values as $i => $value ) {
			if ( null === $value ) {
				$parts[] = 'NULL';
				continue;
			}
			// A value of many bytes is not made longer before it is known that the row will do.
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

	private function literal( string $kind, string $value ): string {
		if ( 'bits' === $kind ) {
			if ( 1 !== preg_match( '/\A[0-9]{1,20}\z/', $value ) ) {
				throw Migrator_Error::bad_request( 'frames' );
			}
			return $value;
		}
		return 'json' === $kind ? 'CONVERT(' . $this->db->quote( $value ) . ' USING utf8mb4)' : $this->db->quote( $value );
	}

	/** Sends what was put in; while the server works on it, more can be put in. */
	private function flush(): void {
		if ( '' !== $this->sql ) {
			$this->db->send_async( $this->sql );
			$this->sql = '';
		}
	}

	/** Sends what was put in, and waits until all of it is there. */
	public function finish(): void {
		$this->flush();
		$this->warnings += $this->db->await_pending();
	}

	/** Refuses values that this server never takes, before any of their pieces is kept. */
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

	/** Keeps bytes of a value, or of a row, whose other parts are still to come. */
	public function store_part( int $col, int $start, string $bytes, int $from ): void {
		$step = min( self::PART_BYTES, intdiv( $this->packet, 4 ) );
		for ( $size = strlen( $bytes ); $from < $size; $from += $step, $start += $step ) {
			$this->db->execute( 'REPLACE INTO ' . Import_Job::table_identifier( 'value_parts' ) . " VALUES ({$this->id}, $col, $start, " . $this->db->quote( substr( $bytes, $from, $step ) ) . ')' );
		}
	}

	/** The row that was kept. */
	public function stored_row(): string {
		return implode( '', iterator_to_array( $this->stored_parts( self::ROW_COLUMN ), false ) );
	}

	/** Puts in a row whose large values were kept, and forgets them. */
	public function add_large( array $values, array $large ): void {
		$this->insert_separately( $values, $large );
		$this->db->execute( 'DELETE FROM ' . Import_Job::table_identifier( 'value_parts' ) . " WHERE table_id = {$this->id}" );
	}

	/** A row alone, its long values sent one after the other and in pieces. */
	private function insert_separately( array $values, array $large ): void {
		$this->flush();
		$parts = array();
		$separate = array();
		foreach ( $values as $i => $value ) {
			if ( isset( $large[ $i ] ) || ( null !== $value && strlen( $value ) > self::SEPARATE_BYTES && 'bits' !== $this->kinds[ $i ] ) ) {
				$separate[] = $i;
				$parts[] = 'json' === $this->kinds[ $i ] ? 'CONVERT(? USING utf8mb4)' : '?';
			} else {
				$parts[] = null === $value ? 'NULL' : $this->literal( $this->kinds[ $i ], $value );
			}
		}
		$statement = $this->db->prepare( $this->begin . '(' . implode( ',', $parts ) . ')' );
		$none      = array_fill( 0, count( $separate ), null );
		$statement->bind_param( str_repeat( 'b', count( $separate ) ), ...$none );
		foreach ( $separate as $place => $i ) {
			if ( isset( $large[ $i ] ) ) {
				$this->send_stored( $statement, $place, $i, $large[ $i ] );
			} else {
				$this->check_packet( strlen( $values[ $i ] ) );
				foreach ( str_split( $values[ $i ], min( self::PART_BYTES, intdiv( $this->packet, 4 ) ) ) as $bytes ) {
					$statement->send_long_data( $place, $bytes );
				}
			}
		}
		if ( ! $statement->execute() ) {
			throw $this->db->last_error();
		}
		$this->warnings += $this->db->last_warning_count();
		$statement->close();
	}

	/** Sends a large value piece by piece. Where it is not what its row says, the row changed while it was read. */
	private function send_stored( \mysqli_stmt $statement, int $place, int $col, array $what ): void {
		$hash = hash_init( 'sha256' );
		$size = 0;
		foreach ( $this->stored_parts( $col ) as $bytes ) {
			hash_update( $hash, $bytes );
			$size += strlen( $bytes );
			$statement->send_long_data( $place, $bytes );
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
