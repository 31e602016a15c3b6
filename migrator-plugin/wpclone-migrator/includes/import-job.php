<?php
/**
 * A job: one who sends a site, and how far that went. There is at most one.
 *
 * What is known of it lies in tables of ours, so that a row of it can be written in the same transaction as the rows
 * of a chunk: `wpclone_job` (one row), `wpclone_tables` (what was defined), `wpclone_pieces` (of values that are not
 * complete), `wpclone_moves` (the journal of the folders).
 *
 * It is open while content comes, sealed when all is there, swapping, swapped, undoing (and then sealed again), or
 * ending.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Job {
	/** After so many seconds without a request another job may take its place. */
	const IDLE = 900;

	/** How long a request waits for one that must not run at the same time, in seconds. */
	const WAIT = 5;

	const TABLES = array(
		'job'    => 'id TINYINT UNSIGNED NOT NULL PRIMARY KEY, job VARBINARY(32) NOT NULL, used BIGINT UNSIGNED NOT NULL, phase VARBINARY(16) NOT NULL, settings LONGBLOB NOT NULL',
		'tables' => 'n INT UNSIGNED NOT NULL PRIMARY KEY, kind VARBINARY(8) NOT NULL, name VARBINARY(255) NOT NULL, definition LONGBLOB NOT NULL, adjusted LONGBLOB NOT NULL, made TINYINT NOT NULL DEFAULT 0, whole TINYINT NOT NULL DEFAULT 1, busy TINYINT NOT NULL DEFAULT 0, seq INT UNSIGNED NOT NULL DEFAULT 0, taken BIGINT UNSIGNED NOT NULL DEFAULT 0, place LONGBLOB NULL, done TINYINT NOT NULL DEFAULT 0, pending LONGBLOB NULL, sealed TINYINT NOT NULL DEFAULT 0',
		'pieces' => 'n INT UNSIGNED NOT NULL, col INT UNSIGNED NOT NULL, start BIGINT UNSIGNED NOT NULL, bytes LONGBLOB NOT NULL, PRIMARY KEY (n, col, start)',
		'moves'  => 'id INT UNSIGNED NOT NULL PRIMARY KEY, root VARBINARY(16) NOT NULL, path VARBINARY(1024) NOT NULL, had TINYINT NOT NULL, gets TINYINT NOT NULL',
	);

	/** @var string */
	private $job;

	/** @var string */
	private $phase;

	/** @var array<string, mixed> */
	public $settings;

	/** @var Import_Staging|null */
	private $staging = null;

	private function __construct( array $row ) {
		$this->job      = $row[0];
		$this->phase    = $row[2];
		$this->settings = (array) json_decode( $row[3], true );
	}

	/** The route `begin`. */
	public static function begin( Json $body ): array {
		if ( is_multisite() ) {
			throw new Trouble( 'multisite' );
		}
		$name  = $body->text_of( 'job', Import::JOB );
		$allow = $body->items( 'allow', 4, array() );
		$roots = $body->items( 'roots', count( Roots::NAMES ), array() );
		if ( array_diff( array_map( 'strval', $allow ), array( 'views', 'triggers', 'php_in_uploads', 'harmless' ) ) ) {
			throw Trouble::bad( 'allow' );
		}
		foreach ( $roots as $root ) {
			if ( ! in_array( $root, Roots::NAMES, true ) ) {
				throw Trouble::bad( 'roots' );
			}
		}
		$settings = array(
			'allow'  => array_values( array_unique( $allow ) ),
			'roots'  => array_values( array_unique( $roots ) ),
			'undo'   => $body->flag( 'undo', true ),
			'places' => array(),
		);
		$db       = Db::get();
		self::lock( $db );
		$job = self::load( $db );
		if ( null !== $job && $name !== $job->job ) {
			self::make_room( $db, $body->flag( 'replace', false ) );
			$job = null;
		}
		$resumed = null !== $job;
		if ( ! $resumed ) {
			self::create( $db, $name, $settings );
			$job = self::load( $db );
		}
		$job->touch( $db );
		// After a break in the middle of this, or a second time, what is there is left as it is.
		if ( 'open' === $job->phase ) {
			$job->staging()->make();
		}
		return array(
			'job'     => $name,
			'resumed' => $resumed,
			'phase'   => $job->phase,
			'roots'   => $job->settings['roots'],
			'tables'  => self::told( $db ),
			'limits'  => array(
				'budget_ms'          => Budget::most_ms(),
				'bytes'              => self::most_bytes(),
				'max_allowed_packet' => (int) $db->value( 'SELECT @@max_allowed_packet' ),
				'parallel'           => Db::PARALLEL,
			),
		);
	}

	/** PHP drops a body that is longer than it lets in, before anybody sees it. */
	private static function most_bytes(): int {
		$most = wp_convert_hr_to_bytes( (string) ini_get( 'post_max_size' ) );
		return $most > 0 ? min( Request::MOST_FRAMES, (int) $most ) : Request::MOST_FRAMES;
	}

	private static function create( Db $db, string $name, array $settings ): void {
		foreach ( self::TABLES as $what => $columns ) {
			$db->run( 'DROP TABLE IF EXISTS ' . self::name( $what ) );
			$db->run( 'CREATE TABLE ' . self::name( $what ) . " ($columns) ENGINE=InnoDB" );
		}
		$db->run( 'INSERT INTO ' . self::name( 'job' ) . ' VALUES (1, ' . $db->text( $name ) . ', ' . time() . ", 'open', " . $db->text( Json::text( $settings ) ) . ')' );
	}

	/** Ends a job that nobody needs any more, if that is wished and it was not used for long; else 429. */
	private static function make_room( Db $db, bool $replace ): void {
		$used = (int) $db->value( 'SELECT used FROM ' . self::name( 'job' ) );
		if ( ! $replace || time() - $used < self::IDLE ) {
			throw new Trouble( 'busy' );
		}
		if ( ! Import_End::wipe( new Budget( new Json( array( 'ms' => 60000 ) ) ) ) ) {
			throw new Trouble( 'busy' );
		}
	}

	/** How far each table came. */
	private static function told( Db $db ): array {
		$told = array();
		foreach ( $db->each( 'SELECT n, name, seq, taken, place, done FROM ' . self::name( 'tables' ) . ' WHERE made = 1 ORDER BY n' ) as $row ) {
			$told[] = array(
				'n'      => (int) $row[0],
				'name'   => $row[1],
				'seq'    => (int) $row[2],
				'rows'   => (int) $row[3],
				'cursor' => null === $row[4] ? null : json_decode( $row[4], true ),
				'done'   => '1' === $row[5],
			);
		}
		return $told;
	}

	/** The job of this name; no_job if there is none. */
	public static function find( string $name ): self {
		$db  = Db::get();
		$job = self::load( $db );
		if ( null === $job || $name !== $job->job ) {
			throw new Trouble( 'no_job' );
		}
		$job->touch( $db );
		return $job;
	}

	/** The job that there is. */
	public static function load( Db $db ): ?self {
		if ( ! self::exists( $db, self::plain( 'job' ) ) ) {
			return null;
		}
		$row = $db->all( 'SELECT job, used, phase, settings FROM ' . self::name( 'job' ) )[0] ?? null;
		return null === $row ? null : new self( $row );
	}

	private function touch( Db $db ): void {
		$db->run( 'UPDATE ' . self::name( 'job' ) . ' SET used = ' . time() );
	}

	/** Makes the request the only one that changes more than rows and files; and reads again what another one left. */
	public function alone(): void {
		$db = Db::get();
		self::lock( $db );
		$now = self::load( $db );
		if ( null === $now || $now->job !== $this->job ) {
			throw new Trouble( 'no_job' );
		}
		if ( $now->phase !== $this->phase ) {
			throw new Trouble( 'busy' );
		}
		$this->settings = $now->settings;
	}

	private static function lock( Db $db ): void {
		if ( ! $db->lock( 'job', self::WAIT ) ) {
			throw new Trouble( 'busy' );
		}
	}

	public function phase(): string {
		return $this->phase;
	}

	/** Notes how far it is, and the settings. */
	public function note( string $phase ): void {
		$db          = Db::get();
		$this->phase = $phase;
		$db->run( 'UPDATE ' . self::name( 'job' ) . ' SET phase = ' . $db->text( $phase ) . ', settings = ' . $db->text( Json::text( $this->settings ) ) );
	}

	/** Whether `begin` allowed something. */
	public function allows( string $what ): bool {
		return in_array( $what, $this->settings['allow'], true );
	}

	/** What was noted of a table. */
	public function table( int $n ): array {
		$found = self::tables( 'n = ' . $n );
		if ( ! $found || '1' !== $found[0]['made'] ) {
			throw Trouble::bad( 'n' );
		}
		return $found[0];
	}

	/** What was noted of tables, without their definitions. */
	public static function tables( string $where = '1' ): array {
		$keys  = array( 'n', 'kind', 'name', 'made', 'whole', 'busy', 'seq', 'taken', 'place', 'done', 'pending', 'sealed' );
		$found = array();
		foreach ( Db::get()->all( 'SELECT ' . implode( ', ', $keys ) . ' FROM ' . self::name( 'tables' ) . " WHERE $where ORDER BY n" ) as $row ) {
			$row       = array_combine( $keys, $row );
			$row['n']  = (int) $row['n'];
			$found[]   = $row;
		}
		return $found;
	}

	/** The definition of a table, as it was taken. */
	public static function definition( int $n ): Json {
		return Json::parse( (string) Db::get()->value( 'SELECT definition FROM ' . self::name( 'tables' ) . " WHERE n = $n" ) );
	}

	public function staging(): Import_Staging {
		if ( null === $this->staging ) {
			$this->staging = new Import_Staging( $this );
		}
		return $this->staging;
	}

	/** A table of ours, without quotes. */
	public static function plain( string $what ): string {
		global $wpdb;
		return $wpdb->base_prefix . Tables::OURS . $what;
	}

	/** A table of ours, in a statement. */
	public static function name( string $what ): string {
		return Db::name( self::plain( $what ) );
	}

	/** Whether there is a table or view of this name. */
	public static function exists( Db $db, string $table ): bool {
		return null !== self::type( $db, $table );
	}

	/** `BASE TABLE` or `VIEW`, or null if there is neither. */
	public static function type( Db $db, string $table ): ?string {
		return $db->value( 'SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ' . Db::utf8( $table ) );
	}
}
