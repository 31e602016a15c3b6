<?php
/**
 * A separate connection to the site's database. WordPress' own converts between charsets; here strings are bytes, large
 * results are streamed, and session variables do not affect other plugins.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Database {
	/**
	 * Errors that are not about what a statement names, so that the same statement may succeed later: too many connections,
	 * locks, a server that ends or begins, lost connections, time limits.
	 */
	const TRANSIENT_ERRORS = array( 0, 1020, 1040, 1047, 1053, 1158, 1159, 1160, 1161, 1180, 1203, 1205, 1206, 1213, 1226, 1317, 1412, 1637, 1927, 1969, 2002, 2003, 2006, 2013, 2055, 3024, 4031 );

	/** How long a statement waits for a table that another session has locked. By default it is a day or more. */
	const LOCK_WAIT_SECONDS = 10;

	/** The length of what is reported of a message, in characters. */
	const MAX_MESSAGE = 300;

	/** How many requests may work at the same time. */
	const MAX_PARALLEL_REQUESTS = 4;

	/** @var \mysqli */
	private $link;

	/** @var self|null */
	private static $shared;

	/** @var bool Whether a statement was sent whose result has not been read yet. */
	private $pending = false;

	/** @var int Warnings of the statements that were sent. */
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

	/** Opens a new connection. */
	public static function connect(): self {
		global $wpdb;
		if ( ! class_exists( 'mysqli' ) || ! defined( 'DB_HOST' ) || ! defined( 'DB_NAME' ) ) {
			throw new Migrator_Error( 'database_unavailable' );
		}
		mysqli_report( MYSQLI_REPORT_OFF );
		$parsed                                 = method_exists( $wpdb, 'parse_db_host' ) ? $wpdb->parse_db_host( DB_HOST ) : false;
		list( $host, $port, $socket, $is_ipv6 ) = is_array( $parsed ) ? $parsed : array( DB_HOST, null, null, false );
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
		$db->reset_sql_mode();
		$db->execute( "SET SESSION time_zone = '+00:00', sql_big_selects = 1, lock_wait_timeout = " . self::LOCK_WAIT_SECONDS );
		return $db;
	}

	/** Sets the modes in which values of any database are accepted as they are. */
	public function reset_sql_mode(): void {
		$this->execute( "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'" );
	}

	/** Closes the connection; a result that has not been read is discarded. */
	public function close(): void {
		mysqli_close( $this->link );
		if ( self::$shared === $this ) {
			self::$shared = null;
		}
	}

	/** Sends a statement without waiting for its result, where PHP can do that. await_pending(), or the next statement, waits for it. */
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

	/** Waits for the statement that was sent; returns the number of warnings since the last call. */
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

	/** Completes a pending statement before the next one. Its warnings still count for await_pending(). */
	private function finish_pending(): void {
		if ( $this->pending ) {
			$this->warning_count = $this->await_pending();
		}
	}

	/** Runs a statement; returns the number of affected rows. */
	public function execute( string $sql ): int {
		$this->finish_pending();
		if ( false === mysqli_query( $this->link, $sql ) ) {
			throw $this->last_error();
		}
		return (int) mysqli_affected_rows( $this->link );
	}

	/** Runs a statement that may fail; returns whether it succeeded. */
	public function try_execute( string $sql ): bool {
		try {
			$this->finish_pending();
		} catch ( Migrator_Error $error ) {
			// The failure of the pending statement does not matter to the caller.
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
	 * Streams rows without buffering the result. Until the end no other statement can run on this connection. Rows that are not
	 * consumed are still read from the server when the result is freed, so queries should have a LIMIT.
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

	/** A prepared statement; its values are sent separately, long ones in parts. */
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

	/** The number of warnings of the last statement. */
	public function last_warning_count(): int {
		return (int) mysqli_warning_count( $this->link );
	}

	/** The version string of the server. */
	public function server_info(): string {
		return (string) mysqli_get_server_info( $this->link );
	}

	/** The server's version without MariaDB's compatibility prefix; `0` if it cannot be parsed. */
	public function version(): string {
		$patterns = array( '/(\d+\.\d+\.\d+)-mariadb/i', '/\A(\d+\.\d+\.\d+)/' );
		foreach ( $patterns as $pattern ) {
			if ( 1 === preg_match( $pattern, $this->server_info(), $found ) ) {
				return $found[1];
			}
		}
		return '0';
	}

	/** Whether the server is a MySQL or MariaDB of at least this version; null: none of that kind qualifies. */
	public function is_at_least( ?string $mysql, ?string $mariadb ): bool {
		$first = $this->is_mariadb() ? $mariadb : $mysql;
		return null !== $first && version_compare( $this->version(), $first, '>=' );
	}

	/** Whether the server is a MariaDB. */
	public function is_mariadb(): bool {
		return false !== stripos( $this->server_info(), 'mariadb' );
	}

	/** The collations that the server supports, sorted. */
	public function collations(): array {
		static $names = null;
		if ( null === $names ) {
			// Since 10.10 MariaDB has collations for several charsets; their full names are in another table.
			$names = array_merge(
				array_column( $this->fetch_all( 'SELECT COLLATION_NAME FROM information_schema.COLLATIONS' ), 0 ),
				array_column( $this->is_at_least( null, '10.10' ) ? $this->fetch_all( 'SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY' ) : array(), 0 )
			);
			$names = array_values( array_unique( array_map( 'strval', $names ) ) );
			sort( $names );
		}
		return $names;
	}

	/** Quotes an identifier. */
	public static function identifier( string $name ): string {
		return '`' . str_replace( '`', '``', $name ) . '`';
	}

	/** Quotes bytes as a string literal. $wpdb is not used, because its escaping replaces every %. */
	public function quote( string $bytes ): string {
		return "'" . mysqli_real_escape_string( $this->link, $bytes ) . "'";
	}

	/** A UTF-8 literal, as names in information_schema are. */
	public static function utf8_literal( string $text ): string {
		return "_utf8mb4 x'" . bin2hex( $text ) . "'";
	}

	/** Acquires one of the slots for parallel requests; 429 if all are taken. The slot is released with the connection. */
	public function acquire_slot(): void {
		for ( $i = 0; $i < self::MAX_PARALLEL_REQUESTS; $i++ ) {
			if ( $this->acquire_lock( "slot_$i", 0 ) ) {
				return;
			}
		}
		throw new Migrator_Error( 'busy' );
	}

	/** Acquires a named lock among the requests to this site. It is released with the connection. */
	public function acquire_lock( string $what, int $seconds ): bool {
		return '1' === $this->fetch_value( 'SELECT GET_LOCK(' . $this->quote( self::lock_name( $what ) ) . ", $seconds)" );
	}

	/**
	 * The name of a lock of this site. Locks are shared by all users of a database server, so that a name that another
	 * user can compute could be held by that user. The secrets are those of wp-config.php: an import replaces the options.
	 */
	public static function lock_name( string $what ): string {
		global $wpdb;
		$secrets = array();
		foreach ( array( 'DB_PASSWORD', 'AUTH_KEY', 'SECURE_AUTH_KEY', 'LOGGED_IN_KEY', 'NONCE_KEY' ) as $name ) {
			$secrets[] = defined( $name ) ? (string) constant( $name ) : '';
		}
		return 'wpclone_' . substr( hash_hmac( 'sha256', DB_NAME . "\0" . $wpdb->prefix, implode( "\0", $secrets ) ), 0, 24 ) . "_$what";
	}

	/** The last error as an error of the protocol. */
	public function last_error(): Migrator_Error {
		$errno = $this->last_errno();
		switch ( $errno ) {
			case 1021: // Disk full.
			case 1114: // The table is full.
			case 3675:
				return new Migrator_Error( 'no_space' );
			case 1153: // A packet bigger than max_allowed_packet.
				return new Migrator_Error( 'value_too_large', array( 'limit' => 0 ) );
		}
		$fields = array(
			'errno'   => $errno,
			'message' => $this->last_message(),
		);
		return new Migrator_Error( in_array( $errno, self::TRANSIENT_ERRORS, true ) ? 'database_busy' : 'database_error', $fields );
	}

	/** What the database said about the last error. */
	public function last_message(): string {
		return self::printable( (string) mysqli_error( $this->link ) );
	}

	/** The begin of a message of the database, as UTF-8 without control characters. */
	public static function printable( string $text ): string {
		$text = 1 === preg_match( '//u', $text ) ? $text : (string) preg_replace( '/[^\x20-\x7e]++/', '?', $text );
		return 1 === preg_match( '/\A.{0,' . self::MAX_MESSAGE . '}/su', (string) preg_replace( '/[\x00-\x1f\x7f]++/', ' ', $text ), $found ) ? $found[0] : '';
	}
}
