<?php
/**
 * Rows that come in: chunk after chunk, each wholly or not at all, and none twice.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Load {
	/** The most bytes of a cursor, as JSON. */
	const MOST_CURSOR = 2048;

	/** @var Db */
	private $db;

	/** @var array What was noted of the table. */
	private $table;

	/** @var Import_Insert */
	private $insert;

	/** @var array|null A row of which pieces are missing: `large` (column => length, SHA-256), `col`, `start`. */
	private $pending;

	/** @var string Its bytes, as they stood in R. */
	private $row = '';

	private function __construct( array $table ) {
		$this->db      = Db::get();
		$this->table   = $table;
		$this->insert  = new Import_Insert( $this->db, $table['n'], Import_Job::definition( $table['n'] ) );
		$this->pending = null === $table['pending'] ? null : json_decode( $table['pending'], true );
	}

	/** The route `load`. */
	public static function take( Import_Job $job, Json $body, \Generator $frames ): array {
		$n      = $body->number( 'n', 1, Import_Tables::MOST );
		$seq    = $body->number( 'seq', 1, 4294967295 );
		$last   = $body->flag( 'last', false );
		$cursor = $body->has( 'cursor' ) ? json_encode( $body->any( 'cursor' ), JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION ) : null;
		if ( strlen( (string) $cursor ) > self::MOST_CURSOR ) {
			throw Trouble::bad( 'cursor' );
		}
		// One chunk of a table at a time: the same one may be sent again while the first is still being taken in.
		if ( ! Db::get()->lock( "table_$n", Import_Job::WAIT ) ) {
			throw new Trouble( 'busy' );
		}
		$table = $job->table( $n );
		if ( 'table' !== $table['kind'] ) {
			throw Trouble::bad( 'n' );
		}
		if ( '1' === $table['busy'] ) {
			self::empty_again( $table );
		}
		if ( (int) $table['seq'] === $seq ) {
			return self::told( $table );
		}
		if ( (int) $table['seq'] + 1 !== $seq || '1' === $table['done'] ) {
			$told = self::told( $table );
			throw new Trouble( 'sequence', array( 'seq' => $told['seq'], 'cursor' => $told['cursor'] ) );
		}
		$self = new self( $table );
		return $self->chunk( $seq, $cursor, $last, $frames );
	}

	private static function told( array $table ): array {
		return array(
			'n'      => $table['n'],
			'seq'    => (int) $table['seq'],
			'rows'   => (int) $table['taken'],
			'cursor' => null === $table['place'] ? null : json_decode( $table['place'], true ),
		);
	}

	/** Takes the rows of a table out again, so that they can be sent from the first on: then 409 `restart`. */
	private static function empty_again( array $table ): void {
		$db = Db::get();
		$n  = $table['n'];
		$db->run( 'TRUNCATE TABLE ' . Db::name( Import_Tables::shadow( $n ) ) );
		$db->run( 'DELETE FROM ' . Import_Job::name( 'pieces' ) . " WHERE n = $n" );
		$db->run( 'UPDATE ' . Import_Job::name( 'tables' ) . " SET busy = 0, seq = 0, taken = 0, place = NULL, done = 0, pending = NULL WHERE n = $n" );
		throw new Trouble( 'restart' );
	}

	private function chunk( int $seq, ?string $cursor, bool $last, \Generator $frames ): array {
		$db    = $this->db;
		$whole = '1' === $this->table['whole'];
		self::prepare( $db );
		if ( $whole ) {
			$db->run( 'START TRANSACTION' );
		} else {
			$db->run( 'UPDATE ' . Import_Job::name( 'tables' ) . " SET busy = 1 WHERE n = {$this->table['n']}" );
		}
		try {
			for ( ; $frames->valid(); $frames->next() ) {
				$kind    = $frames->key();
				$payload = $frames->current();
				if ( 'R' === $kind && null === $this->pending ) {
					$this->rows( $payload );
				} elseif ( 'P' === $kind && null !== $this->pending ) {
					$this->piece( $payload );
				} else {
					throw Trouble::bad( 'frames' );
				}
			}
			if ( $last && null !== $this->pending ) {
				throw Trouble::bad( 'last' );
			}
			$this->insert->finish();
			$this->note( $seq, $cursor, $last );
			if ( $whole ) {
				$db->run( 'COMMIT' );
			}
		} catch ( \Throwable $thrown ) {
			if ( $whole ) {
				$db->tried( 'ROLLBACK' );
			}
			if ( $thrown instanceof Trouble && 'restart' === $thrown->name ) {
				self::empty_again( $this->table );
			}
			throw $thrown;
		}
		return self::told( $this->table ) + array( 'warnings' => $this->insert->warnings() );
	}

	/** What a session needs to take in rows that another server let in. */
	private static function prepare( Db $db ): void {
		$db->run( 'SET SESSION foreign_key_checks = 0, unique_checks = 1' );
		// MariaDB: what a row's check says was decided where the row is from.
		$db->tried( 'SET SESSION check_constraint_checks = 0' );
	}

	/** Rows of a frame; the last may have values that come in pieces. */
	private function rows( string $payload ): void {
		$at   = 0;
		$size = strlen( $payload );
		while ( $at < $size ) {
			list( $values, $large, $end ) = $this->row( $payload, $at );
			if ( $large ) {
				if ( $end !== $size ) {
					throw Trouble::bad( 'frames' );
				}
				$this->insert->check( $large );
				$this->row     = substr( $payload, $at );
				$this->pending = array(
					'large' => $large,
					'col'   => key( $large ),
					'start' => 0,
				);
			} else {
				$this->insert->add( $values );
				++$this->table['taken'];
			}
			$at = $end;
		}
	}

	/**
	 * One row: its values, those that come in pieces (column => length and SHA-256), and where it ends.
	 *
	 * @return array{0: array<int, string|null>, 1: array<int, array>, 2: int}
	 */
	private function row( string $payload, int $at ): array {
		$count = $this->insert->count();
		$most  = strlen( $payload );
		if ( $at + 4 * $count > $most ) {
			throw Trouble::bad( 'frames' );
		}
		$values = array();
		$large  = array();
		$from   = $at + 4 * $count;
		foreach ( unpack( "N$count", $payload, $at ) as $i => $size ) {
			$column = $i - 1;
			if ( Rows::NO_VALUE === $size ) {
				$values[] = null;
				continue;
			}
			$is_large = Rows::LARGE_VALUE === $size;
			$size     = $is_large ? 40 : $size;
			if ( $from + $size > $most ) {
				throw Trouble::bad( 'frames' );
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

	/** A piece of a large value: it has to go on exactly where the last one ended. */
	private function piece( string $payload ): void {
		if ( strlen( $payload ) <= 10 ) {
			throw Trouble::bad( 'frames' );
		}
		$head  = unpack( 'ncol/Jstart', $payload );
		$bytes = strlen( $payload ) - 10;
		$size  = $this->pending['large'][ $this->pending['col'] ][0];
		if ( $head['col'] !== $this->pending['col'] || $head['start'] !== $this->pending['start'] || $head['start'] + $bytes > $size ) {
			throw Trouble::bad( 'frames' );
		}
		$this->insert->keep( $head['col'], $head['start'], $payload, 10 );
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
		$this->complete();
	}

	/** Puts in the row of which all pieces are there. */
	private function complete(): void {
		$row = '' === $this->row ? $this->insert->kept_row() : $this->row;
		list( $values, $large ) = $this->row( $row, 0 );
		$this->insert->add_large( $values, $large );
		$this->row     = '';
		$this->pending = null;
		++$this->table['taken'];
	}

	/** Notes how far the table is; in the same transaction as the rows. */
	private function note( int $seq, ?string $cursor, bool $last ): void {
		if ( null !== $this->pending && '' !== $this->row ) {
			$this->insert->keep( Import_Insert::ROW, 0, $this->row, 0 );
		}
		$this->table['seq']   = $seq;
		$this->table['place'] = $cursor;
		$pending              = null === $this->pending ? 'NULL' : $this->db->text( (string) json_encode( $this->pending ) );
		$changed              = $this->db->run(
			'UPDATE ' . Import_Job::name( 'tables' ) . " SET busy = 0, seq = $seq, taken = {$this->table['taken']}, place = " . ( null === $cursor ? 'NULL' : $this->db->text( $cursor ) )
			. ', done = ' . (int) $last . ", pending = $pending WHERE n = {$this->table['n']}"
		);
		// The job was aborted meanwhile.
		if ( 1 !== $changed ) {
			throw new Trouble( 'no_job' );
		}
	}
}
