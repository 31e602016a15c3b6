<?php
/**
 * A database server for one test file, on a socket in a temporary folder. It ends with the process that started it, and
 * its folder is deleted. MariaDB by default; MySQL with WPCLONE_TEST_DATABASE=mysql.
 */

final class Database_Server {
	/** The deadline for anything that is waited for, in seconds. */
	const DEADLINE = 300;

	public $folder;
	public $socket;
	private $process;
	private $pid;
	private $is_shut_down = false;

	/** Fails if a program is not installed. WPCLONE_SOCKET names a server that is running already. */
	public static function require_programs(): void {
		foreach ( self::is_external() ? array() : ( self::is_mysql() ? array( 'mysqld' ) : array( 'mariadb-install-db', 'mariadbd' ) ) as $tool ) {
			if ( null === self::tool( $tool ) ) {
				throw new RuntimeException( 'these tests need ' . ( self::is_mysql() ? self::cache() . '/mysql/' : '' ) . $tool );
			}
		}
	}

	/** Starts a server with a copy of a data folder, or with a new empty one. */
	public static function start( ?string $data = null ): self {
		return new self( $data );
	}

	/** Whether the server is one that is running already. */
	public static function is_external(): bool {
		return '' !== (string) getenv( 'WPCLONE_SOCKET' );
	}

	public static function is_mysql(): bool {
		$database = getenv( 'WPCLONE_TEST_DATABASE' ) ?: 'mariadb';
		if ( ! in_array( $database, array( 'mariadb', 'mysql' ), true ) ) {
			throw new RuntimeException( 'WPCLONE_TEST_DATABASE is mariadb or mysql' );
		}
		return 'mysql' === $database;
	}

	/** The server's version, as its program prints it. */
	public static function version(): string {
		return (string) shell_exec( escapeshellarg( self::tool( self::is_mysql() ? 'mysqld' : 'mariadbd' ) ) . ' --no-defaults --version' );
	}

	/** The folder that `./dev install` downloads into. */
	public static function cache(): string {
		return getenv( 'WPCLONE_CACHE' ) ?: ( getenv( 'XDG_CACHE_HOME' ) ?: getenv( 'HOME' ) . '/.cache' ) . '/wpclone';
	}

	private static function tool( string $name ): ?string {
		// On PATH mysqld may be a MariaDB.
		$folders = 'mysqld' === $name ? array( self::cache() . '/mysql' ) : array( '/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin' );
		foreach ( $folders as $folder ) {
			if ( is_executable( "$folder/$name" ) ) {
				return "$folder/$name";
			}
		}
		return null;
	}

	private function __construct( ?string $data ) {
		$this->pid = getmypid();
		// In memory if there is room: every test creates tables, and a disk is slow.
		$memory       = (float) @disk_free_space( '/dev/shm' ) > 2e9 && is_writable( '/dev/shm' );
		$this->folder = ( $memory ? '/dev/shm' : sys_get_temp_dir() ) . '/wpclone-plugin-test-' . bin2hex( random_bytes( 6 ) );
		mkdir( $this->folder, 0755 );
		pcntl_async_signals( true );
		foreach ( array( SIGINT, SIGTERM, SIGHUP ) as $signal ) {
			pcntl_signal( $signal, static function () {
				exit( 130 );
			} );
		}
		mysqli_report( MYSQLI_REPORT_OFF );
		if ( self::is_external() ) {
			$this->socket = getenv( 'WPCLONE_SOCKET' );
			mysqli_query( $this->link(), 'DROP DATABASE IF EXISTS site' );
			mysqli_query( $this->link(), 'DROP USER IF EXISTS site@localhost' );
			return;
		}
		mkdir( "{$this->folder}/run", 0700 );
		$this->socket = "{$this->folder}/run/sock";
		if ( null !== $data ) {
			$this->run( array( 'cp', '-a', $data, "{$this->folder}/data" ) );
		}
		$command       = self::is_mysql() ? $this->mysql( null === $data ) : $this->mariadb( null === $data );
		$this->process = proc_open( $command, array( array( 'file', '/dev/null', 'r' ), array( 'file', "{$this->folder}/log", 'a' ), array( 'file', "{$this->folder}/log", 'a' ) ), $pipes );
		$until         = microtime( true ) + self::DEADLINE;
		while ( ! @mysqli_connect( null, 'root', '', null, 0, $this->socket ) ) {
			if ( microtime( true ) > $until || ! proc_get_status( $this->process )['running'] ) {
				throw new RuntimeException( 'the database does not start: ' . file_get_contents( "{$this->folder}/log" ) );
			}
			usleep( 20000 );
		}
	}

	/** The command that starts a MariaDB; creates its data first if it is new. */
	private function mariadb( bool $is_new ): array {
		$user = array();
		if ( 0 === posix_geteuid() ) {
			$user = array( '--user=mysql' );
			is_dir( "{$this->folder}/data" ) || mkdir( "{$this->folder}/data" );
			chown( "{$this->folder}/data", 'mysql' );
			chown( "{$this->folder}/run", 'mysql' );
		}
		$data = "--datadir={$this->folder}/data";
		if ( $is_new ) {
			$this->run( array_merge( array( self::tool( 'mariadb-install-db' ), '--no-defaults', $data, '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve', '--innodb-log-file-size=8M' ), $user ) );
		}
		$options = array( '--skip-networking', '--skip-log-bin', '--character-set-server=utf8mb4', '--innodb-flush-log-at-trx-commit=0', '--innodb-doublewrite=0', '--innodb-buffer-pool-size=64M', '--innodb-log-file-size=8M', '--lc-messages-dir=/usr/share/mysql' );
		$prefix  = self::ends_with_this_process();
		// Changing the user resets the signal, so setpriv has to do it first.
		if ( $prefix && $user ) {
			$prefix = array_merge( $prefix, array( '--reuid', 'mysql', '--regid', 'mysql', '--clear-groups' ) );
			$user   = array();
		}
		return array_merge( $prefix, array( self::tool( 'mariadbd' ), '--no-defaults', $data, "--socket={$this->socket}" ), $options, $user );
	}

	/** The command that starts a MySQL; creates its data first if it is new. Its sql_mode is MySQL's default. */
	private function mysql( bool $is_new ): array {
		$start = array( self::tool( 'mysqld' ), '--no-defaults', "--datadir={$this->folder}/data", '--innodb-redo-log-capacity=8M', '--innodb-doublewrite=OFF', '--skip-log-bin' );
		if ( 0 === posix_geteuid() ) {
			// Another user could not read root's cache folder, where the program is.
			$start[] = '--user=root';
		}
		if ( $is_new ) {
			$this->run( array_merge( $start, array( '--initialize-insecure' ) ) );
		}
		return array_merge( self::ends_with_this_process(), $start, array( "--socket={$this->socket}", '--skip-networking', '--mysqlx=OFF', '--secure-file-priv=NULL', '--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=64M' ) );
	}

	/** A prefix for commands that are to be killed when this process ends, however it ends. */
	public static function ends_with_this_process(): array {
		return is_executable( '/usr/bin/setpriv' ) ? array( '/usr/bin/setpriv', '--pdeathsig', 'KILL' ) : array();
	}

	/** A connection as root. */
	public function link( string $schema = '' ): mysqli {
		$link = mysqli_connect( null, 'root', '', $schema, 0, $this->socket );
		mysqli_set_charset( $link, 'binary' );
		mysqli_query( $link, "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00'" );
		return $link;
	}

	/** Runs a program to its end; returns its output. */
	public function run( array $command, ?string $folder = null ): string {
		$process = proc_open( $command, array( array( 'file', '/dev/null', 'r' ), array( 'pipe', 'w' ), array( 'file', "{$this->folder}/log", 'a' ) ), $pipes, $folder );
		$out     = stream_get_contents( $pipes[1] );
		if ( 0 !== proc_close( $process ) ) {
			throw new RuntimeException( implode( ' ', $command ) . ": $out " . file_get_contents( "{$this->folder}/log" ) );
		}
		return $out;
	}

	/** Shuts the server down, so that its data folder can be copied; returns that folder. */
	public function shut_down(): string {
		$this->is_shut_down = true;
		proc_terminate( $this->process, SIGTERM );
		$until = microtime( true ) + self::DEADLINE;
		while ( proc_get_status( $this->process )['running'] ) {
			if ( microtime( true ) > $until ) {
				throw new RuntimeException( 'the database does not shut down' );
			}
			usleep( 20000 );
		}
		return "{$this->folder}/data";
	}

	/** Kills the server and deletes its folder; not in a forked child. Shows the log of a server that crashed. */
	public function __destruct() {
		if ( getmypid() !== $this->pid ) {
			return;
		}
		if ( is_resource( $this->process ) ) {
			if ( ! $this->is_shut_down && ! proc_get_status( $this->process )['running'] ) {
				echo 'FAILED the database server ended by itself: ', substr( (string) file_get_contents( "{$this->folder}/log" ), -6000 ), "\n";
			}
			proc_terminate( $this->process, 9 );
			proc_close( $this->process );
		}
		exec( 'rm -rf ' . escapeshellarg( $this->folder ) );
	}
}
