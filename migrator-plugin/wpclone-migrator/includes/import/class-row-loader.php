<?php
/**
 * The route `load-rows`: loads chunks of rows. Each chunk is loaded completely or not at all, and only once.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Row_Loader {
	/** The maximum length of the client's cursor, as JSON. */
	const MAX_CURSOR_BYTES = 2048;

	/** @var Database */
	private $db;

	/** @var array The table's record in the job. */
	private $table;

	/** @var Row_Inserter */
	private $inserter;

	/** @var array|null The row whose pieces are incomplete: `large` (column => length, SHA-256), `col`, `start`. */
	private $pending;

	/** @var string The bytes of that row in frame R. */
	private $row = '';

	/** @var Constraint_Conflicts */
	private $conflicts;

	private function __construct( array $table ) {
		$this->db        = Database::shared();
		$this->table     = $table;
		$this->inserter  = new Row_Inserter( $this->db, $table['id'], Import_Job::definition( $table['id'] ) );
		$this->pending   = null === $table['pending'] ? null : json_decode( $table['pending'], true );
		$this->conflicts = Constraint_Conflicts::parse( $table['constraint_conflicts'] );
	}

	/** Loads one chunk; returns the table's progress. */
	public static function load( Import_Job $job, Json_Object $body, \Generator $frames ): array {
		$id     = $body->get_int( 'table_id', 1, Staged_Tables::MAX_TABLES );
		$chunk  = $body->get_int( 'chunk', 1, 4294967295 );
		$last   = $body->get_bool( 'last', false );
		$cursor = $body->has( 'cursor' ) ? json_encode( $body->get( 'cursor' ), JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION ) : null;
		if ( strlen( (string) $cursor ) > self::MAX_CURSOR_BYTES ) {
			throw Migrator_Error::bad_request( 'cursor' );
		}
		// One chunk per table at a time: a client may repeat a chunk while the first request still works on it.
		if ( ! Database::shared()->acquire_lock( "table_$id", Import_Job::LOCK_WAIT_SECONDS ) ) {
			throw new Migrator_Error( 'busy' );
		}
		$table = $job->table_row( $id );
		if ( 'table' !== $table['kind'] ) {
			throw Migrator_Error::bad_request( 'table_id' );
		}
		if ( '1' === $table['loading'] ) {
			self::restart_table( $table );
		}
		if ( (int) $table['chunk'] === $chunk ) {
			return self::result( $table );
		}
		if ( (int) $table['chunk'] + 1 !== $chunk || ( '1' === $table['complete'] && ! $body->get_bool( 'append', false ) ) ) {
			$result = self::result( $table );
			throw new Migrator_Error( 'out_of_sequence', array( 'chunk' => $result['chunk'], 'cursor' => $result['cursor'] ) );
		}
		$self = new self( $table );
		return $self->load_chunk( $chunk, $cursor, $last, $frames );
	}

	private static function result( array $table ): array {
		return array(
			'table_id' => $table['id'],
			'chunk'    => (int) $table['chunk'],
			'rows'     => (int) $table['row_count'],
			'cursor'   => null === $table['client_cursor'] ? null : json_decode( $table['client_cursor'], true ),
		) + Constraint_Conflicts::parse( $table['constraint_conflicts'] )->fields();
	}

	/** Empties a table so that it can be loaded from the beginning; always throws restart_table. */
	private static function restart_table( array $table ): void {
		$db = Database::shared();
		$id = $table['id'];
		// A versioned table cannot be truncated.
		if ( ! $db->try_execute( 'TRUNCATE TABLE ' . Database::identifier( Staged_Tables::staged_name( $id ) ) ) ) {
			Staged_Tables::create_table( $db, $id, ( new Table_Builder( $db, Import_Job::definition( $id ) ) )->sql( Staged_Tables::staged_name( $id ) ) );
		}
		$db->execute( 'DELETE FROM ' . Import_Job::table_identifier( 'value_parts' ) . " WHERE table_id = $id" );
		$db->execute( 'UPDATE ' . Import_Job::table_identifier( 'tables' ) . " SET loading = 0, chunk = 0, row_count = 0, client_cursor = NULL, complete = 0, pending = NULL, constraint_conflicts = NULL WHERE id = $id" );
		throw new Migrator_Error( 'restart_table' );
	}

	private function load_chunk( int $chunk, ?string $cursor, bool $last, \Generator $frames ): array {
		$db            = $this->db;
		$transactional = '1' === $this->table['transactional'];
		self::prepare_session( $db );
		if ( $transactional ) {
			$db->execute( 'START TRANSACTION' );
		} else {
			$db->execute( 'UPDATE ' . Import_Job::table_identifier( 'tables' ) . " SET loading = 1 WHERE id = {$this->table['id']}" );
		}
		try {
			for ( ; $frames->valid(); $frames->next() ) {
				$kind    = $frames->key();
				$payload = $frames->current();
				if ( 'R' === $kind && null === $this->pending ) {
					$this->add_rows( $payload );
				} elseif ( 'A' === $kind && null === $this->pending ) {
					$this->add_alternatives( $payload );
				} elseif ( 'P' === $kind && null !== $this->pending ) {
					$this->add_piece( $payload );
				} else {
					throw Migrator_Error::bad_request( 'frames' );
				}
			}
			if ( $last && null !== $this->pending ) {
				throw Migrator_Error::bad_request( 'last' );
			}
			$this->inserter->finish();
			$this->save_progress( $chunk, $cursor, $last );
			if ( $transactional ) {
				$db->execute( 'COMMIT' );
			}
		} catch ( \Throwable $thrown ) {
			if ( $transactional ) {
				$db->try_execute( 'ROLLBACK' );
			}
			if ( $thrown instanceof Migrator_Error && 'restart_table' === $thrown->error_code ) {
				self::restart_table( $this->table );
			}
			if ( $thrown instanceof Migrator_Error ) {
				// It quotes values.
				unset( $thrown->fields['message'] );
			}
			throw $thrown;
		}
		return self::result( $this->table ) + array( 'warnings' => $this->inserter->warnings() );
	}

	/** Allows rows that were valid at the source but may not be here, at the moment. */
	private static function prepare_session( Database $db ): void {
		$db->execute( 'SET SESSION foreign_key_checks = 0, unique_checks = 1' );
		// MariaDB: checks were evaluated at the source. Row_Inserter enforces them for values that changed.
		$db->try_execute( 'SET SESSION check_constraint_checks = 0' );
	}

	/** Adds the rows of a frame. The last one may have values that follow in pieces. */
	private function add_rows( string $payload ): void {
		$at   = 0;
		$size = strlen( $payload );
		while ( $at < $size ) {
			list( $values, $large, $end ) = $this->decode_row( $payload, $at );
			if ( $large ) {
				if ( $end !== $size ) {
					throw Migrator_Error::bad_request( 'frames' );
				}
				$this->inserter->check_sizes( $large );
				$this->row     = substr( $payload, $at );
				$this->pending = array(
					'large' => $large,
					'col'   => key( $large ),
					'start' => 0,
				);
			} else {
				$this->inserter->add( $values );
				++$this->table['row_count'];
			}
			$at = $end;
		}
	}

	/** Adds a row in its preferred form, or else in its other one: numbers of differing values and addresses, and both forms. */
	private function add_alternatives( string $payload ): void {
		if ( strlen( $payload ) < 8 ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		list( $preferred, $large, $middle ) = $this->decode_row( $payload, 8 );
		list( $other, $more, $end )         = $this->decode_row( $payload, $middle );
		if ( $large || $more || strlen( $payload ) !== $end ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		if ( ! $this->inserter->add_if_accepted( $preferred ) ) {
			$this->inserter->add( $other );
			$head = unpack( 'Nvalues/Naddresses', $payload );
			$this->conflicts->add( $head['values'], $head['addresses'], substr( $payload, 8, $middle - 8 ), substr( $payload, $middle ) );
		}
		++$this->table['row_count'];
	}

	/**
	 * Decodes a row: its values, its large values (column => length and SHA-256), and where it ends.
	 *
	 * @return array{0: array<int, string|null>, 1: array<int, array>, 2: int}
	 */
	private function decode_row( string $payload, int $at ): array {
		$count = $this->inserter->count();
		$end   = strlen( $payload );
		if ( $at + 4 * $count > $end ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		$values = array();
		$large  = array();
		$from   = $at + 4 * $count;
		foreach ( unpack( "N$count", $payload, $at ) as $i => $size ) {
			$column = $i - 1;
			if ( Row_Reader::NULL_MARKER === $size ) {
				$values[] = null;
				continue;
			}
			$is_large = Row_Reader::LARGE_MARKER === $size;
			$size     = $is_large ? 40 : $size;
			if ( $from + $size > $end ) {
				throw Migrator_Error::bad_request( 'frames' );
			}
			$value = substr( $payload, $from, $size );
			$from += $size;
			if ( $is_large ) {
				$large[ $column ] = array( unpack( 'J', $value )[1], bin2hex( substr( $value, 8 ) ) );
			}
			$values[] = $is_large ? null : $value;
		}
		return array( $values, $large, $from );
	}

	/** Adds a piece of a large value. It must continue exactly where the last one ended. */
	private function add_piece( string $payload ): void {
		if ( strlen( $payload ) <= 10 ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		$head  = unpack( 'ncol/Jstart', $payload );
		$bytes = strlen( $payload ) - 10;
		$size  = $this->pending['large'][ $this->pending['col'] ][0];
		if ( $head['col'] !== $this->pending['col'] || $head['start'] !== $this->pending['start'] || $head['start'] + $bytes > $size ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		$this->inserter->store_part( $head['col'], $head['start'], $payload, 10 );
		$this->pending['start'] += $bytes;
		if ( $this->pending['start'] < $size ) {
			return;
		}
		$columns = array_keys( $this->pending['large'] );
		$next    = $columns[ 1 + array_search( $head['col'], $columns, true ) ] ?? null;
		if ( null !== $next ) {
			$this->pending['col']   = $next;
			$this->pending['start'] = 0;
			return;
		}
		$this->insert_pending_row();
	}

	/** Inserts the row whose pieces are complete. */
	private function insert_pending_row(): void {
		$row                    = '' === $this->row ? $this->inserter->stored_row() : $this->row;
		list( $values, $large ) = $this->decode_row( $row, 0 );
		$this->inserter->add_large( $values, $large );
		$this->row     = '';
		$this->pending = null;
		++$this->table['row_count'];
	}

	/** Saves the table's progress, in the same transaction as the rows. */
	private function save_progress( int $chunk, ?string $cursor, bool $last ): void {
		if ( null !== $this->pending && '' !== $this->row ) {
			$this->inserter->store_part( Row_Inserter::ROW_COLUMN, 0, $this->row, 0 );
		}
		$this->table['chunk']            = $chunk;
		$this->table['client_cursor']    = $cursor;
		$this->table['constraint_conflicts'] = $this->conflicts->to_json();
		$pending                         = null === $this->pending ? 'NULL' : $this->db->quote( (string) json_encode( $this->pending ) );
		$changed                         = $this->db->execute(
			'UPDATE ' . Import_Job::table_identifier( 'tables' ) . " SET loading = 0, chunk = $chunk, row_count = {$this->table['row_count']}, client_cursor = " . ( null === $cursor ? 'NULL' : $this->db->quote( $cursor ) )
			. ', complete = ' . (int) $last . ", pending = $pending, constraint_conflicts = " . $this->db->quote( $this->table['constraint_conflicts'] ) . " WHERE id = {$this->table['id']}"
		);
		// The job was aborted in the meantime.
		if ( 1 !== $changed ) {
			throw new Migrator_Error( 'job_not_found' );
		}
	}
}
