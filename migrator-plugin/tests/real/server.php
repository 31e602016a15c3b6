<?php
/**
 * A MariaDB of our own, on a socket in a temporary folder; it ends and goes with the process that started it.
 */

final class Server {
	/** How long anything may take, in seconds. */
	const DEADLINE = 60;

	public $folder;
	public $socket;
	private $process;
	private $pid;

	/** Null, and a word why, where something is missing. WPCLONE_SOCKET is one that runs already: a MySQL, perhaps. */
	public static function start(): ?self {
		if ( getenv( 'WPCLONE_SOCKET' ) ) {
			return new self( getenv( 'WPCLONE_SOCKET' ) );
		}
		foreach ( array( 'mariadb-install-db', 'mariadbd' ) as $tool ) {
			if ( null === self::tool( $tool ) ) {
				echo "SKIPPED: these tests need $tool\n";
				return null;
			}
		}
		return new self();
	}

	private static function tool( string $name ): ?string {
		foreach ( array( '/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin' ) as $folder ) {
			if ( is_executable( "$folder/$name" ) ) {
				return "$folder/$name";
			}
		}
		return null;
	}

	private function __construct( ?string $socket = null ) {
		$this->pid    = getmypid();
		// In memory where there is room: every test makes tables, and a disk takes its time.
		$memory       = (float) @disk_free_space( '/dev/shm' ) > 2e9 && is_writable( '/dev/shm' );
		$this->folder = ( $memory ? '/dev/shm' : sys_get_temp_dir() ) . '/wpclone-real-' . bin2hex( random_bytes( 6 ) );
		mkdir( $this->folder, 0755 );
		pcntl_async_signals( true );
		foreach ( array( SIGINT, SIGTERM, SIGHUP ) as $signal ) {
			pcntl_signal( $signal, static function () {
				exit( 130 );
			} );
		}
		mysqli_report( MYSQLI_REPORT_OFF );
		if ( null !== $socket ) {
			$this->socket = $socket;
			mysqli_query( $this->link(), 'DROP DATABASE IF EXISTS site' );
			mysqli_query( $this->link(), 'DROP USER IF EXISTS site@localhost' );
			return;
		}
		$user = array();
		if ( 0 === posix_geteuid() ) {
			$user = array( '--user=mysql' );
			mkdir( "{$this->folder}/data" );
			chown( "{$this->folder}/data", 'mysql' );
			mkdir( "{$this->folder}/run" );
			chown( "{$this->folder}/run", 'mysql' );
		} else {
			mkdir( "{$this->folder}/run" );
		}
		$data         = "--datadir={$this->folder}/data";
		$this->socket = "{$this->folder}/run/sock";
		$this->run( array_merge( array( self::tool( 'mariadb-install-db' ), '--no-defaults', $data, '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve', '--innodb-log-file-size=8M' ), $user ) );
		$options       = array( '--skip-networking', '--skip-log-bin', '--character-set-server=utf8mb4', '--innodb-flush-log-at-trx-commit=0', '--innodb-doublewrite=0', '--innodb-buffer-pool-size=64M', '--innodb-log-file-size=8M', '--lc-messages-dir=/usr/share/mysql' );
		// Ended as well when this process is, however that happens. Becoming another user would undo that, so it comes first.
		$first = is_executable( '/usr/bin/setpriv' ) ? array( '/usr/bin/setpriv', '--pdeathsig', 'KILL' ) : array();
		if ( $first && $user ) {
			$first = array_merge( $first, array( '--reuid', 'mysql', '--regid', 'mysql', '--clear-groups' ) );
			$user  = array();
		}
		$this->process = proc_open( array_merge( $first, array( self::tool( 'mariadbd' ), '--no-defaults', $data, "--socket={$this->socket}" ), $options, $user ), array( array( 'file', '/dev/null', 'r' ), array( 'file', "{$this->folder}/log", 'a' ), array( 'file', "{$this->folder}/log", 'a' ) ), $pipes );
		$until         = microtime( true ) + self::DEADLINE;
		while ( ! @mysqli_connect( null, 'root', '', null, 0, $this->socket ) ) {
			if ( microtime( true ) > $until || ! proc_get_status( $this->process )['running'] ) {
				throw new RuntimeException( 'MariaDB does not start: ' . file_get_contents( "{$this->folder}/log" ) );
			}
			usleep( 20000 );
		}
	}

	/** A connection as root. */
	public function link( string $schema = '' ): mysqli {
		$link = mysqli_connect( null, 'root', '', $schema, 0, $this->socket );
		mysqli_set_charset( $link, 'binary' );
		mysqli_query( $link, "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00'" );
		return $link;
	}

	/** Runs a program to its end. */
	public function run( array $command, ?string $in = null ): string {
		$process = proc_open( $command, array( array( 'file', '/dev/null', 'r' ), array( 'pipe', 'w' ), array( 'file', "{$this->folder}/log", 'a' ) ), $pipes, $in );
		$out     = stream_get_contents( $pipes[1] );
		if ( 0 !== proc_close( $process ) ) {
			throw new RuntimeException( implode( ' ', $command ) . ": $out " . file_get_contents( "{$this->folder}/log" ) );
		}
		return $out;
	}

	/** Ends the server and removes the folder. Children of this process leave both alone. */
	public function __destruct() {
		if ( getmypid() !== $this->pid ) {
			return;
		}
		if ( is_resource( $this->process ) ) {
			proc_terminate( $this->process, 9 );
			proc_close( $this->process );
		}
		exec( 'rm -rf ' . escapeshellarg( $this->folder ) );
	}
}
