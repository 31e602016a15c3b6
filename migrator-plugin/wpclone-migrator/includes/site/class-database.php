<?php
/**
 * A connection of our own to the site's database. WordPress' own knows a charset and converts; here texts are bytes,
 * results need not be held in memory, and what a session is set to is nobody else's.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Database {
	/** How many requests may be at work at a time. */
	const MAX_PARALLEL_REQUESTS = 4;

	/** @var \mysqli */
	private $link;

	/** @var self|null */
	private static $shared;

	/** @var bool Whether a statement was sent of which nothing has come back. */
	private $pending = false;

	/** @var int Warnings of statements that were sent. */
	private $warning_count = 0;

	private function __construct( \mysqli $link ) {
		$this->link = $link;
	}

	/** The connection of this request. */
	public static function shared(): self {
		if ( null === self::$shared ) {
			self::$shared = self::connect();
		}
		return self::$shared;
	}

	/** A new connection. */
	public static function connect(): self {
		global $wpdb;
		if ( ! class_exists( 'mysqli' ) || ! defined( 'DB_HOST' ) || ! defined( 'DB_NAME' ) ) {
			throw new Migrator_Error( 'database_unavailable' );
		}
		mysqli_report( MYSQLI_REPORT_OFF );
		$place = method_exists( $wpdb, 'parse_db_host' ) ? $wpdb->parse_db_host( DB_HOST ) : false;
		list( $host, $port, $socket, $is_ipv6 ) = is_array( $place ) ? $place : array( DB_HOST, null, null, false );
		if ( $is_ipv6 && extension_loaded( 'mysqlnd' ) ) {
			$host = "[$host]";
		}
		$link = mysqli_init();
		mysqli_options( $link, MYSQLI_OPT_CONNECT_TIMEOUT, 5 );
		mysqli_options( $link, MYSQLI_OPT_LOCAL_INFILE, 0 );
		$flags = defined( 'MYSQL_CLIENT_FLAGS' ) ? MYSQL_CLIENT_FLAGS : 0;
		if ( ! @mysqli_real_connect( $link, $host, DB_USER, DB_PASSWORD, DB_NAME, null === $port ? 0 : (int) $port, $socket, $flags ) ) {
			throw new Migrator_Error( 'database_unavailable' );
		}
		$db = new self( $link );
		if ( ! mysqli_set_charset( $link, 'binary' ) ) {
			throw new Migrator_Error( 'database_unavailable' );
		}
		$db->execute( "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00', sql_big_selects = 1" );
		return $db;
	}

	/** Ends the connection, and with it whatever the server was about to send. */
	public function close(): void {
		mysqli_close( $this->link );
		if ( self::$shared === $this ) {
			self::$shared = null;
		}
	}

	/** Sends a statement, and does not wait for its end where PHP can do so: settle() does, or whatever is asked next. */
	public function send_async( string $sql ): void {
		$this->finish_pending();
		if ( ! function_exists( 'mysqli_reap_async_query' ) ) {
			$this->execute( $sql );
			$this->warning_count += $this->last_warning_count();
		} elseif ( mysqli_query( $this->link, $sql, MYSQLI_ASYNC ) ) {
			$this->pending = true;
		} else {
			throw $this->last_error();
		}
	}

	/** Waits for what was sent; says how many warnings there were since this was asked last. */
	public function await_pending(): int {
		if ( $this->pending ) {
			$this->pending = false;
			if ( false === mysqli_reap_async_query( $this->link ) ) {
				throw $this->last_error();
			}
			$this->warning_count += $this->last_warning_count();
		}
		$warning_count       = $this->warning_count;
		$this->warning_count = 0;
		return $warning_count;
	}

	/** Before something else is asked: its warnings are for settle() all the same. */
	private function finish_pending(): void {
		if ( $this->pending ) {
			$this->warning_count = $this->await_pending();
		}
	}

	/** Runs a statement; says how many rows it was about. */
	public function execute( string $sql ): int {
		$this->finish_pending();
		if ( false === mysqli_query( $this->link, $sql ) ) {
			throw $this->last_error();
		}
		return (int) mysqli_affected_rows( $this->link );
	}

	/** The same; says whether it went well. */
	public function try_execute( string $sql ): bool {
		try {
			$this->finish_pending();
		} catch ( Migrator_Error $error ) {
			// Whoever tries a statement has given up the one before, or has none.
			unset( $error );
		}
		return false !== mysqli_query( $this->link, $sql );
	}

	/**
	 * All rows of a small result.
	 *
	 * @return array<int, array<int, string|null>>
	 */
	public function fetch_all( string $sql ): array {
		$this->finish_pending();
		$result = mysqli_query( $this->link, $sql );
		if ( ! $result instanceof \mysqli_result ) {
			throw $this->last_error();
		}
		$rows = $result->fetch_all( MYSQLI_NUM );
		$result->free();
		return $rows;
	}

	/** The first value of the first row. */
	public function fetch_value( string $sql ): ?string {
		return $this->fetch_all( $sql )[0][0] ?? null;
	}

	/**
	 * Row after row, none of them kept. Another statement has to wait for the end, or needs another connection. What is not
	 * taken is read from the server all the same before the result is free: ask for no more than what is wanted.
	 *
	 * @return \Generator<int, array<int, string|null>>
	 */
	public function stream_rows( string $sql ): \Generator {
		$this->finish_pending();
		$result = mysqli_query( $this->link, $sql, MYSQLI_USE_RESULT );
		if ( ! $result instanceof \mysqli_result ) {
			throw $this->last_error();
		}
		while ( true ) {
			$row = $result->fetch_row();
			if ( ! is_array( $row ) ) {
				break;
			}
			yield $row;
		}
		if ( 0 !== mysqli_errno( $this->link ) ) {
			throw $this->last_error();
		}
		$result->free();
	}

	/** A statement whose values are sent apart, in pieces if they are long. */
	public function prepare( string $sql ): \mysqli_stmt {
		$this->finish_pending();
		$statement = mysqli_prepare( $this->link, $sql );
		if ( false === $statement ) {
			throw $this->last_error();
		}
		return $statement;
	}

	/** The number of the last error. */
	public function last_errno(): int {
		return (int) mysqli_errno( $this->link );
	}

	/** How many warnings the last statement had. */
	public function last_warning_count(): int {
		return (int) mysqli_warning_count( $this->link );
	}

	/** What the server calls itself. */
	public function server_info(): string {
		return (string) mysqli_get_server_info( $this->link );
	}

	/** Its version, without what a MariaDB says before its own; `0` if it tells none. */
	public function version(): string {
		$forms = array( '/(\d+\.\d+\.\d+)-mariadb/i', '/\A(\d+\.\d+\.\d+)/' );
		foreach ( $forms as $form ) {
			if ( 1 === preg_match( $form, $this->server_info(), $found ) ) {
				return $found[1];
			}
		}
		return '0';
	}

	/** Whether it is a MySQL or a MariaDB of this version or a later one; null stands for none of them. */
	public function is_at_least( ?string $mysql, ?string $mariadb ): bool {
		$first = $this->is_mariadb() ? $mariadb : $mysql;
		return null !== $first && version_compare( $this->version(), $first, '>=' );
	}

	/** Whether it is a MariaDB. */
	public function is_mariadb(): bool {
		return false !== stripos( $this->server_info(), 'mariadb' );
	}

	/** A name in a statement. */
	public static function identifier( string $name ): string {
		return '`' . str_replace( '`', '``', $name ) . '`';
	}

	/** Bytes in a statement. Never through $wpdb, whose escaping turns every % into something else. */
	public function quote( string $bytes ): string {
		return "'" . mysqli_real_escape_string( $this->link, $bytes ) . "'";
	}

	/** A text in UTF-8, as names in information_schema are. */
	public static function utf8_literal( string $text ): string {
		return "_utf8mb4 x'" . bin2hex( $text ) . "'";
	}

	/** Takes one of the places for work; 429 if all are taken. They are free again when the connection ends. */
	public function acquire_slot(): void {
		for ( $i = 0; $i < self::MAX_PARALLEL_REQUESTS; $i++ ) {
			if ( $this->acquire_lock( "slot_$i", 0 ) ) {
				return;
			}
		}
		throw new Migrator_Error( 'busy' );
	}

	/** A lock among the requests to this site. Released when the connection ends. */
	public function acquire_lock( string $what, int $seconds ): bool {
		global $wpdb;
		$name = 'wpclone_' . substr( hash( 'sha256', DB_NAME . "\0" . $wpdb->prefix ), 0, 24 ) . "_$what";
		return '1' === $this->fetch_value( 'SELECT GET_LOCK(' . $this->quote( $name ) . ", $seconds)" );
	}

	/** What the last error is in the protocol's words. */
	public function last_error(): Migrator_Error {
		$errno = $this->last_errno();
		switch ( $errno ) {
			case 1021: // Disk full.
			case 1114: // The table is full.
			case 3675:
				return new Migrator_Error( 'no_space' );
			case 1153: // A packet bigger than max_allowed_packet.
				return new Migrator_Error( 'value_too_large', array( 'limit' => 0 ) );
			default:
				return new Migrator_Error( 'database_error', array( 'errno' => $errno ) );
		}
	}
}
