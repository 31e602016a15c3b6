<?php
/**
 * Statements that put rows into a table. All values are bytes: on a connection without a charset they reach the table
 * as they are.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Insert {
	/** A statement is sent when it has so many bytes, if the server takes so many. */
	const STATEMENT = 524288;

	/** Bytes of a piece as it is kept and sent. */
	const PIECE = 262144;

	/** Values with more bytes are sent apart when the whole row is too long for a statement. */
	const APART = 4096;

	/** In the place of a column: the row itself, with its values that are not large. */
	const ROW = 4294967295;

	/** @var Db */
	private $db;

	/** @var int */
	private $n;

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

	public function __construct( Db $db, int $n, Json $definition ) {
		$this->db        = $db;
		$this->n         = $n;
		$this->packet    = (int) $db->value( 'SELECT @@max_allowed_packet' );
		$this->statement = min( self::STATEMENT, intdiv( $this->packet, 2 ) );
		$names           = array();
		foreach ( $definition->items( 'columns', Import_Definition::MOST_COLUMNS ) as $column ) {
			if ( isset( $column['generated'] ) ) {
				continue;
			}
			$names[]       = Db::name( $column['name'] );
			$is_json       = 0 === strcasecmp( $column['type'], 'json' ) && ! $db->is_mariadb();
			$this->kinds[] = $is_json ? 'json' : ( 0 === strncasecmp( $column['type'], 'bit', 3 ) ? 'bits' : 'text' );
		}
		$this->begin = 'INSERT INTO ' . Db::name( Import_Tables::shadow( $n ) ) . ' (' . implode( ', ', $names ) . ') VALUES ';
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
				$this->add_apart( $values, array() );
				return;
			}
			$parts[] = 'text' === $this->kinds[ $i ] ? $this->db->text( $value ) : $this->literal( $this->kinds[ $i ], $value );
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
				throw Trouble::bad( 'frames' );
			}
			return $value;
		}
		return 'json' === $kind ? 'CONVERT(' . $this->db->text( $value ) . ' USING utf8mb4)' : $this->db->text( $value );
	}

	/** Sends what was put in; while the server works on it, more can be put in. */
	private function flush(): void {
		if ( '' !== $this->sql ) {
			$this->db->send( $this->sql );
			$this->sql = '';
		}
	}

	/** Sends what was put in, and waits until all of it is there. */
	public function finish(): void {
		$this->flush();
		$this->warnings += $this->db->settle();
	}

	/** Refuses values that this server never takes, before any of their pieces is kept. */
	public function check( array $large ): void {
		foreach ( $large as $i => list( $size ) ) {
			if ( 'bits' === $this->kinds[ $i ] || $size <= 0 ) {
				throw Trouble::bad( 'frames' );
			}
			$this->packet_for( $size );
		}
	}

	private function packet_for( int $size ): void {
		if ( $size >= $this->packet ) {
			throw new Trouble( 'packet', array( 'limit' => $this->packet - 1 ) );
		}
	}

	/** Keeps bytes of a value, or of a row, whose other parts are still to come. */
	public function keep( int $col, int $start, string $bytes, int $from ): void {
		$step = min( self::PIECE, intdiv( $this->packet, 4 ) );
		for ( $size = strlen( $bytes ); $from < $size; $from += $step, $start += $step ) {
			$this->db->run( 'REPLACE INTO ' . Import_Job::name( 'pieces' ) . " VALUES ({$this->n}, $col, $start, " . $this->db->text( substr( $bytes, $from, $step ) ) . ')' );
		}
	}

	/** The row that was kept. */
	public function kept_row(): string {
		return implode( '', iterator_to_array( $this->kept( self::ROW ), false ) );
	}

	/** Puts in a row whose large values were kept, and forgets them. */
	public function add_large( array $values, array $large ): void {
		$this->add_apart( $values, $large );
		$this->db->run( 'DELETE FROM ' . Import_Job::name( 'pieces' ) . " WHERE n = {$this->n}" );
	}

	/** A row alone, its long values sent one after the other and in pieces. */
	private function add_apart( array $values, array $large ): void {
		$this->flush();
		$parts = array();
		$apart = array();
		foreach ( $values as $i => $value ) {
			if ( isset( $large[ $i ] ) || ( null !== $value && strlen( $value ) > self::APART && 'bits' !== $this->kinds[ $i ] ) ) {
				$apart[] = $i;
				$parts[] = 'json' === $this->kinds[ $i ] ? 'CONVERT(? USING utf8mb4)' : '?';
			} else {
				$parts[] = null === $value ? 'NULL' : $this->literal( $this->kinds[ $i ], $value );
			}
		}
		$statement = $this->db->statement( $this->begin . '(' . implode( ',', $parts ) . ')' );
		$none      = array_fill( 0, count( $apart ), null );
		$statement->bind_param( str_repeat( 'b', count( $apart ) ), ...$none );
		foreach ( $apart as $place => $i ) {
			if ( isset( $large[ $i ] ) ) {
				$this->send_kept( $statement, $place, $i, $large[ $i ] );
			} else {
				$this->packet_for( strlen( $values[ $i ] ) );
				foreach ( str_split( $values[ $i ], min( self::PIECE, intdiv( $this->packet, 4 ) ) ) as $bytes ) {
					$statement->send_long_data( $place, $bytes );
				}
			}
		}
		if ( ! $statement->execute() ) {
			throw $this->db->trouble();
		}
		$this->warnings += $this->db->warnings();
		$statement->close();
	}

	/** Sends a large value piece by piece. Where it is not what its row says, the row changed while it was read. */
	private function send_kept( \mysqli_stmt $statement, int $place, int $col, array $what ): void {
		$hash = hash_init( 'sha256' );
		$size = 0;
		foreach ( $this->kept( $col ) as $bytes ) {
			hash_update( $hash, $bytes );
			$size += strlen( $bytes );
			$statement->send_long_data( $place, $bytes );
		}
		if ( $size !== $what[0] || ! hash_equals( $what[1], hash_final( $hash ) ) ) {
			throw new Trouble( 'restart' );
		}
	}

	/** @return \Generator<int, string> */
	private function kept( int $col ): \Generator {
		$at = 0;
		while ( true ) {
			$bytes = $this->db->value( 'SELECT bytes FROM ' . Import_Job::name( 'pieces' ) . " WHERE n = {$this->n} AND col = $col AND start = $at" );
			if ( null === $bytes || '' === $bytes ) {
				return;
			}
			yield $bytes;
			$at += strlen( $bytes );
		}
	}
}
