<?php
/**
 * A database server of our own, on a socket in a temporary folder; it ends and goes with the process that started it.
 * It is a MariaDB, and with WPCLONE_TEST_DATABASE=mysql a MySQL.
 */

final class Server {
	/** How long anything may take, in seconds. */
	const DEADLINE = 60;

	public $folder;
	public $socket;
	private $process;
	private $pid;

	/** Null, and a word why, where something is missing. WPCLONE_SOCKET is one that runs already. */
	public static function start(): ?self {
		if ( getenv( 'WPCLONE_SOCKET' ) ) {
			return new self( getenv( 'WPCLONE_SOCKET' ) );
		}
		foreach ( self::is_mysql() ? array( 'mysqld' ) : array( 'mariadb-install-db', 'mariadbd' ) as $tool ) {
			if ( null === self::tool( $tool ) ) {
				echo 'SKIPPED: these tests need ', self::is_mysql() ? self::cache() . '/mysql/' : '', "$tool\n";
				return null;
			}
		}
		return new self();
	}

	private static function is_mysql(): bool {
		$wanted = getenv( 'WPCLONE_TEST_DATABASE' ) ?: 'mariadb';
		if ( ! in_array( $wanted, array( 'mariadb', 'mysql' ), true ) ) {
			throw new RuntimeException( 'WPCLONE_TEST_DATABASE is mariadb or mysql' );
		}
		return 'mysql' === $wanted;
	}

	/** Where `./dev install` puts what it fetches. */
	public static function cache(): string {
		return getenv( 'WPCLONE_CACHE' ) ?: ( getenv( 'XDG_CACHE_HOME' ) ?: getenv( 'HOME' ) . '/.cache' ) . '/wpclone';
	}

	private static function tool( string $name ): ?string {
		// What is called mysqld elsewhere may be a MariaDB.
		$folders = 'mysqld' === $name ? array( self::cache() . '/mysql' ) : array( '/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin' );
		foreach ( $folders as $folder ) {
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
		mkdir( "{$this->folder}/run", 0700 );
		$this->socket  = "{$this->folder}/run/sock";
		$command       = self::is_mysql() ? $this->mysql() : $this->mariadb();
		$this->process = proc_open( $command, array( array( 'file', '/dev/null', 'r' ), array( 'file', "{$this->folder}/log", 'a' ), array( 'file', "{$this->folder}/log", 'a' ) ), $pipes );
		$until         = microtime( true ) + self::DEADLINE;
		while ( ! @mysqli_connect( null, 'root', '', null, 0, $this->socket ) ) {
			if ( microtime( true ) > $until || ! proc_get_status( $this->process )['running'] ) {
				throw new RuntimeException( 'the database does not start: ' . file_get_contents( "{$this->folder}/log" ) );
			}
			usleep( 20000 );
		}
	}

	/** Makes the data of a MariaDB; the command that starts it. */
	private function mariadb(): array {
		$user = array();
		if ( 0 === posix_geteuid() ) {
			$user = array( '--user=mysql' );
			mkdir( "{$this->folder}/data" );
			chown( "{$this->folder}/data", 'mysql' );
			chown( "{$this->folder}/run", 'mysql' );
		}
		$data = "--datadir={$this->folder}/data";
		$this->run( array_merge( array( self::tool( 'mariadb-install-db' ), '--no-defaults', $data, '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve', '--innodb-log-file-size=8M' ), $user ) );
		$options = array( '--skip-networking', '--skip-log-bin', '--character-set-server=utf8mb4', '--innodb-flush-log-at-trx-commit=0', '--innodb-doublewrite=0', '--innodb-buffer-pool-size=64M', '--innodb-log-file-size=8M', '--lc-messages-dir=/usr/share/mysql' );
		$first   = self::ends_with_us();
		// Becoming another user would undo that, so it comes first.
		if ( $first && $user ) {
			$first = array_merge( $first, array( '--reuid', 'mysql', '--regid', 'mysql', '--clear-groups' ) );
			$user  = array();
		}
		return array_merge( $first, array( self::tool( 'mariadbd' ), '--no-defaults', $data, "--socket={$this->socket}" ), $options, $user );
	}

	/** Makes the data of a MySQL; the command that starts it. Its sql_mode stays what a MySQL has by itself. */
	private function mysql(): array {
		$start = array( self::tool( 'mysqld' ), '--no-defaults', "--datadir={$this->folder}/data", '--innodb-redo-log-capacity=8M', '--innodb-doublewrite=OFF', '--skip-log-bin' );
		if ( 0 === posix_geteuid() ) {
			// Another user could not look into the cache of root, where its program lies.
			$start[] = '--user=root';
		}
		$this->run( array_merge( $start, array( '--initialize-insecure' ) ) );
		return array_merge( self::ends_with_us(), $start, array( "--socket={$this->socket}", '--skip-networking', '--mysqlx=OFF', '--secure-file-priv=NULL', '--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=64M' ) );
	}

	/** What comes before a command so that it is ended as well when this process is, however that happens. */
	public static function ends_with_us(): array {
		return is_executable( '/usr/bin/setpriv' ) ? array( '/usr/bin/setpriv', '--pdeathsig', 'KILL' ) : array();
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
