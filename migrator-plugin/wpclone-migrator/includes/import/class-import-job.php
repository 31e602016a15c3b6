<?php
/**
 * The import job: who imports, and how far the import is. There is at most one.
 *
 * Its state is kept in tables of our own, so that progress can be written in the same transaction as the rows of a
 * chunk: `wpclone_import_job` (one row), `wpclone_import_tables` (definitions and progress), `wpclone_import_value_parts`
 * (parts of large values that are not complete yet) and `wpclone_import_moves` (the journal of moved files).
 *
 * Phases: `open` while content is sent, `prepared` when everything is there, `swapping`, `swapped`, `rolling_back` (then
 * `prepared` again), `cleaning_up`.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Job {
	/** The name of a job, chosen by the client. */
	const NAME_PATTERN = '/\A[0-9a-f]{32}\z/';

	/** After so many seconds without a request the job may be replaced by another one. */
	const IDLE_SECONDS = 900;

	/** How long a request waits for another one that must not run at the same time, in seconds. */
	const LOCK_WAIT_SECONDS = 5;

	/** What a job may allow to be imported besides tables and ordinary files. */
	const ALLOWABLE = array( 'views', 'triggers', 'php_in_uploads', 'sandbox_plugin', 'unprefixed_tables' );

	/** Names of the job's tables => their columns. */
	const TABLES = array(
		'job'         => 'id TINYINT UNSIGNED NOT NULL PRIMARY KEY, job VARBINARY(32) NOT NULL, last_used BIGINT UNSIGNED NOT NULL, phase VARBINARY(16) NOT NULL, settings LONGBLOB NOT NULL',
		'tables'      => 'id INT UNSIGNED NOT NULL PRIMARY KEY, kind VARBINARY(8) NOT NULL, name VARBINARY(255) NOT NULL, definition LONGBLOB NOT NULL, adjustments LONGBLOB NOT NULL, created TINYINT NOT NULL DEFAULT 0, transactional TINYINT NOT NULL DEFAULT 1, loading TINYINT NOT NULL DEFAULT 0, chunk INT UNSIGNED NOT NULL DEFAULT 0, row_count BIGINT UNSIGNED NOT NULL DEFAULT 0, client_cursor LONGBLOB NULL, complete TINYINT NOT NULL DEFAULT 0, pending LONGBLOB NULL, constraint_conflicts LONGBLOB NULL, prepared TINYINT NOT NULL DEFAULT 0',
		'value_parts' => 'table_id INT UNSIGNED NOT NULL, col INT UNSIGNED NOT NULL, start BIGINT UNSIGNED NOT NULL, bytes LONGBLOB NOT NULL, PRIMARY KEY (table_id, col, start)',
		'moves'       => 'id INT UNSIGNED NOT NULL PRIMARY KEY, root VARBINARY(16) NOT NULL, path VARBINARY(1024) NOT NULL, existed TINYINT NOT NULL, incoming TINYINT NOT NULL',
	);

	/** @var string */
	private $name;

	/** @var string */
	private $phase;

	/** @var array<string, mixed> */
	public $settings;

	/** @var Staging_Folders|null */
	private $staging = null;

	private function __construct( array $row ) {
		list( $this->name, $this->phase, $settings ) = $row;
		$this->settings                              = (array) json_decode( $settings, true );
	}

	/** The route `begin`: starts a job, or resumes the one of this name. */
	public static function begin( Json_Object $body ): array {
		if ( is_multisite() ) {
			throw new Migrator_Error( 'multisite_unsupported' );
		}
		$name  = $body->get_string( 'job', self::NAME_PATTERN );
		$allow = $body->get_list( 'allow', count( self::ALLOWABLE ), array() );
		$roots = $body->get_list( 'roots', count( Site_Roots::NAMES ), array() );
		if ( array_diff( array_map( 'strval', $allow ), self::ALLOWABLE ) ) {
			throw Migrator_Error::bad_request( 'allow' );
		}
		foreach ( $roots as $root ) {
			if ( ! in_array( $root, Site_Roots::NAMES, true ) ) {
				throw Migrator_Error::bad_request( 'roots' );
			}
		}
		$settings = array(
			'allow'         => array_values( array_unique( $allow ) ),
			'roots'         => array_values( array_unique( $roots ) ),
			'reversible'    => $body->get_bool( 'reversible', true ),
			'staging_paths' => array(),
		);
		$db = Database::shared();
		self::acquire_job_lock( $db );
		$job = self::load( $db );
		if ( null !== $job && $name !== $job->name ) {
			self::end_idle_job( $db, $body->get_bool( 'replace', false ) );
			$job = null;
		}
		$resumed = null !== $job;
		if ( ! $resumed ) {
			self::create( $db, $name, $settings );
			$job = self::load( $db );
		}
		$job->touch( $db );
		// Also completes folders that an interrupted `begin` has not created. Existing ones stay as they are.
		if ( 'open' === $job->phase ) {
			$job->staging()->create();
		}
		return array(
			'job'     => $name,
			'resumed' => $resumed,
			'phase'   => $job->phase,
			'roots'   => $job->settings['roots'],
			'tables'  => self::table_progress( $db ),
			'limits'  => array(
				'budget_ms'          => Request_Budget::max_ms(),
				'bytes'              => self::max_request_bytes(),
				'max_allowed_packet' => (int) $db->fetch_value( 'SELECT @@max_allowed_packet' ),
				'parallel'           => Database::MAX_PARALLEL_REQUESTS,
			),
		);
	}

	/** PHP discards a longer body before any of its code runs. */
	private static function max_request_bytes(): int {
		$post_max = wp_convert_hr_to_bytes( (string) ini_get( 'post_max_size' ) );
		return $post_max > 0 ? min( Request::MAX_FRAMES_BYTES, (int) $post_max ) : Request::MAX_FRAMES_BYTES;
	}

	private static function create( Database $db, string $name, array $settings ): void {
		foreach ( self::TABLES as $what => $columns ) {
			$db->execute( 'DROP TABLE IF EXISTS ' . self::table_identifier( $what ) );
			$db->execute( 'CREATE TABLE ' . self::table_identifier( $what ) . " ($columns) ENGINE=InnoDB" );
		}
		$db->execute( 'INSERT INTO ' . self::table_identifier( 'job' ) . ' VALUES (1, ' . $db->quote( $name ) . ', ' . time() . ", 'open', " . $db->quote( Json_Object::encode( $settings ) ) . ')' );
	}

	/** Ends the current job if the client asked to replace it and it has been idle long enough; else 429. */
	private static function end_idle_job( Database $db, bool $replace ): void {
		$last_used = (int) $db->fetch_value( 'SELECT last_used FROM ' . self::table_identifier( 'job' ) );
		if ( ! $replace || time() - $last_used < self::IDLE_SECONDS ) {
			throw new Migrator_Error( 'busy' );
		}
		if ( ! Import_Cleanup::clean_up_any( new Request_Budget( new Json_Object( array( 'ms' => 60000 ) ) ) ) ) {
			throw new Migrator_Error( 'busy' );
		}
	}

	/** The progress of each table. */
	private static function table_progress( Database $db ): array {
		$progress = array();
		foreach ( $db->stream_rows( 'SELECT id, name, chunk, row_count, client_cursor, complete, constraint_conflicts FROM ' . self::table_identifier( 'tables' ) . ' WHERE created = 1 ORDER BY id' ) as $row ) {
			$progress[] = array(
				'table_id' => (int) $row[0],
				'name'     => $row[1],
				'chunk'    => (int) $row[2],
				'rows'     => (int) $row[3],
				'cursor'   => null === $row[4] ? null : json_decode( $row[4], true ),
				'complete' => '1' === $row[5],
			) + Constraint_Conflicts::parse( $row[6] )->fields();
		}
		return $progress;
	}

	/** The job of this name; job_not_found if there is none. */
	public static function find( string $name ): self {
		$db  = Database::shared();
		$job = self::load( $db );
		if ( null === $job || $name !== $job->name ) {
			throw new Migrator_Error( 'job_not_found' );
		}
		$job->touch( $db );
		return $job;
	}

	/** Whether the current job has this name. */
	public static function is_current( string $name ): bool {
		$job = self::load( Database::shared() );
		return null !== $job && $name === $job->name;
	}

	/** The job of this name, locked, or null; job_in_progress if there is another one. */
	public static function lock_own( ?string $name ): ?self {
		$db = Database::shared();
		self::acquire_job_lock( $db );
		$job = self::load( $db );
		if ( null !== $job && $name !== $job->name ) {
			throw new Migrator_Error( 'job_in_progress' );
		}
		return $job;
	}

	/** The current job, or null. */
	public static function load( Database $db ): ?self {
		if ( ! self::table_exists( $db, self::prefixed( 'import_job' ) ) ) {
			return null;
		}
		$row = $db->fetch_all( 'SELECT job, phase, settings FROM ' . self::table_identifier( 'job' ) )[0] ?? null;
		return null === $row ? null : new self( $row );
	}

	private function touch( Database $db ): void {
		$db->execute( 'UPDATE ' . self::table_identifier( 'job' ) . ' SET last_used = ' . time() );
	}

	/** Excludes other requests that change the job, and reloads what the last one of them has changed. */
	public function lock_exclusively(): void {
		$db = Database::shared();
		self::acquire_job_lock( $db );
		$current = self::load( $db );
		if ( null === $current || $current->name !== $this->name ) {
			throw new Migrator_Error( 'job_not_found' );
		}
		if ( $current->phase !== $this->phase ) {
			throw new Migrator_Error( 'busy' );
		}
		$this->settings = $current->settings;
	}

	private static function acquire_job_lock( Database $db ): void {
		if ( ! $db->acquire_lock( 'job', self::LOCK_WAIT_SECONDS ) ) {
			throw new Migrator_Error( 'busy' );
		}
	}

	public function phase(): string {
		return $this->phase;
	}

	/** Saves the phase, and the settings with it. */
	public function save_phase( string $phase ): void {
		$db          = Database::shared();
		$this->phase = $phase;
		$db->execute( 'UPDATE ' . self::table_identifier( 'job' ) . ' SET phase = ' . $db->quote( $phase ) . ', settings = ' . $db->quote( Json_Object::encode( $this->settings ) ) );
	}

	/** Whether `begin` allowed one of ALLOWABLE. */
	public function allows( string $what ): bool {
		return in_array( $what, $this->settings['allow'], true );
	}

	/** The record of a table. */
	public function table_row( int $id ): array {
		$found = self::table_rows( 'id = ' . $id );
		if ( ! $found || '1' !== $found[0]['created'] ) {
			throw Migrator_Error::bad_request( 'table_id' );
		}
		return $found[0];
	}

	/** The records of tables, views and triggers, without their definitions. */
	public static function table_rows( string $where = '1' ): array {
		$keys  = array( 'id', 'kind', 'name', 'created', 'transactional', 'loading', 'chunk', 'row_count', 'client_cursor', 'complete', 'pending', 'constraint_conflicts', 'prepared' );
		$found = array();
		foreach ( Database::shared()->fetch_all( 'SELECT ' . implode( ', ', $keys ) . ' FROM ' . self::table_identifier( 'tables' ) . " WHERE $where ORDER BY id" ) as $row ) {
			$row       = array_combine( $keys, $row );
			$row['id'] = (int) $row['id'];
			$found[]   = $row;
		}
		return $found;
	}

	/** The definition of a table as it was received. */
	public static function definition( int $id ): Json_Object {
		return Json_Object::parse( (string) Database::shared()->fetch_value( 'SELECT definition FROM ' . self::table_identifier( 'tables' ) . " WHERE id = $id" ) );
	}

	public function staging(): Staging_Folders {
		if ( null === $this->staging ) {
			$this->staging = new Staging_Folders( $this );
		}
		return $this->staging;
	}

	/** A table name with the site's and the plugin's prefix. */
	public static function prefixed( string $what ): string {
		global $wpdb;
		return $wpdb->base_prefix . Site_Tables::PLUGIN_TABLE_PREFIX . $what;
	}

	/** One of the job's TABLES, quoted for a statement. */
	public static function table_identifier( string $what ): string {
		return Database::identifier( self::prefixed( "import_$what" ) );
	}

	/** Whether a table or view of this name exists. */
	public static function table_exists( Database $db, string $table ): bool {
		return null !== $db->fetch_value( 'SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ' . Database::utf8_literal( $table ) );
	}
}
