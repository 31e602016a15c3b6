<?php
/**
 * The route `snapshot`: compares all tables with what a client has read of them, at one moment, and sends what it lacks.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Snapshot_Export {
	/** The maximum number of tables per request. */
	const MAX_TABLES = 500;

	/** With the rows that were sent, the client has the table as it is in the snapshot. */
	const EXACT = 'exact';
	/** The table is another one, and does not fit into the response. */
	const CHANGED = 'changed';
	/** The table was not compared: there was no time, or it is read outside of the snapshot and has changed. */
	const UNKNOWN = 'unknown';

	/** Engines whose tables are read as they were when the snapshot was taken. */
	const ENGINES_WITH_SNAPSHOTS = array( 'InnoDB', 'RocksDB', 'TokuDB' );

	/** @var Database */
	private $db;

	/** @var Request_Budget */
	private $budget;

	/** @var Frame_Writer */
	private $out;

	private function __construct( Database $db, Request_Budget $budget, Frame_Writer $out ) {
		$this->db     = $db;
		$this->budget = $budget;
		$this->out    = $out;
	}

	/** Writes frames H, R, P and S with rows, and a frame V for each table. */
	public static function send( Json_Object $body, Frame_Writer $out ): array {
		$db     = Database::shared();
		$self   = new self( $db, new Request_Budget( $body ), $out );
		$own    = Site_Tables::requested_tables( $db, $body->get_bool( 'unprefixed', false ) );
		$tables = array();
		foreach ( $body->get_list( 'tables', self::MAX_TABLES ) as $table ) {
			if ( ! is_array( $table ) ) {
				throw Migrator_Error::bad_request( 'tables' );
			}
			$tables[] = $self->known_table( new Json_Object( $table ), $own );
		}
		$db->execute( 'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ' );
		$db->execute( 'START TRANSACTION WITH CONSISTENT SNAPSHOT' );
		foreach ( $tables as $i => $table ) {
			$tables[ $i ]['appended'] = $self->send_appended( $table );
		}
		usort( $tables, array( self::class, 'compare_sizes' ) );
		foreach ( $tables as $table ) {
			$out->write_json( 'V', array( 'table' => $table['name'], 'state' => $self->compare( $table ) ) );
		}
		$db->execute( 'COMMIT' );
		return array( 'cursor' => null );
	}

	/** What the client knows of a table, and its definition; without one, the table cannot be read. */
	private function known_table( Json_Object $table, array $own ): array {
		$known = array(
			'name'       => $table->get_string( 'table', '/\A.{1,255}\z/s' ),
			'rows'       => $table->get_int( 'rows', 0, PHP_INT_MAX ),
			'digest'     => (string) hex2bin( $table->get_string( 'digest', '/\A[0-9a-f]{64}\z/' ) ),
			'cursor'     => $table->get_object( 'cursor' ),
			'definition' => null,
		);
		if ( ! $this->budget->deadline_passed() ) {
			try {
				$known['definition'] = Row_Reader::readable_definition( $this->db, $known['name'], $own );
			} catch ( Migrator_Error $error ) {
				// It was dropped or damaged since.
				unset( $error );
			}
		}
		return $known;
	}

	/** Small tables first, so that as many as possible are compared in time. */
	private static function compare_sizes( array $one, array $other ): int {
		return $one['rows'] <=> $other['rows'];
	}

	/** Sends the rows after those that the client has; null if there is no room for all of them. */
	private function send_appended( array $table ): ?array {
		if ( null === $table['definition'] || $this->budget->is_exhausted( $this->out->bytes_written() ) || $this->budget->deadline_passed() ) {
			return null;
		}
		return $this->send_rows( $table, $table['cursor'], false );
	}

	/** Sends rows from a cursor on: returns their number and digest, or null if not all were sent. */
	private function send_rows( array $table, ?Json_Object $cursor, bool $whole ): ?array {
		$reader = new Row_Reader( $this->db, $table['definition'] );
		$this->out->write_json( 'H', $reader->header() + array( 'whole' => $whole ) );
		try {
			$complete = null === $reader->read( $cursor, $this->budget, $this->out );
		} catch ( Migrator_Error $error ) {
			// Such as a large value that changed: it is read outside of the snapshot.
			$complete = false;
		}
		$this->out->write_json(
			'S',
			$reader->summary() + array(
				'complete' => $complete,
				'end'      => $reader->end_cursor(),
			)
		);
		return $complete ? $reader->summary() : null;
	}

	/** Compares a table as a whole, and sends it if the client has another one. */
	private function compare( array $table ): string {
		if ( null === $table['definition'] || $this->budget->deadline_passed() ) {
			return self::UNKNOWN;
		}
		$reader = new Row_Reader( $this->db, $table['definition'] );
		try {
			if ( null !== $reader->read( null, $this->budget, null ) ) {
				return self::UNKNOWN;
			}
		} catch ( Migrator_Error $error ) {
			return self::UNKNOWN;
		}
		$now         = $reader->summary();
		$appended    = $table['appended'] ?? array(
			'rows'   => 0,
			'digest' => str_repeat( '0', 64 ),
		);
		$is_snapshot = in_array( $table['definition']['engine'], self::ENGINES_WITH_SNAPSHOTS, true );
		if ( $now['rows'] === $table['rows'] + $appended['rows'] && hex2bin( $now['digest'] ) === ( $table['digest'] ^ hex2bin( $appended['digest'] ) ) ) {
			return $is_snapshot || 0 === $appended['rows'] ? self::EXACT : self::UNKNOWN;
		}
		if ( $reader->bytes_read() > $this->budget->bytes_left( $this->out->bytes_written() ) || null === $this->send_rows( $table, null, true ) ) {
			return self::CHANGED;
		}
		return $is_snapshot ? self::EXACT : self::UNKNOWN;
	}
}
