<?php
/**
 * Selects the PHP that answers the requests of a test. By default it is a forked child of the test, with WordPress loaded.
 * WPCLONE_TEST_PHP selects another one, which loads WordPress for each request:
 *
 * - small: this machine's PHP with the limits of a small host: no php.ini, so no extension but mysqli, and none for
 *   archives; little memory and time; no functions that run programs.
 * - 7.4, 8.4: a WebAssembly build of that version with the same limits.
 */

use Wpclone\Migrator\Kill_Points;

require_once __DIR__ . '/request-runner.php';

abstract class Php_Runner {
	/** The limits of a small host. */
	const SMALL = array(
		'memory_limit'       => '64M',
		'max_execution_time' => '10',
		'disable_functions'  => 'exec,shell_exec,system,passthru,proc_open,popen,pcntl_exec,pcntl_fork',
		'disable_classes'    => 'ZipArchive',
	);

	/** @var string Which PHP it is. */
	public $name = '';

	/** @var array<string, The limits of another PHP. */
	public $limits = self::SMALL;

	/** @var Database_Server */
	protected $server;

	public static function of( Database_Server $server ): self {
		$wanted = getenv( 'WPCLONE_TEST_PHP' ) ?: '';
		if ( ! in_array( $wanted, array( '', 'small', '7.4', '8.4' ), true ) ) {
			throw new RuntimeException( 'WPCLONE_TEST_PHP is small, 7.4, 8.4 or nothing' );
		}
		$classes   = array( '' => Forked_Runner::class, 'small' => Small_Host_Runner::class );
		$class     = $classes[ $wanted ] ?? Wasm_Runner::class;
		$php       = new $class( $server );
		$php->name = $wanted;
		mkdir( "{$server->folder}/opcache" );
		return $php;
	}

	final private function __construct( Database_Server $server ) {
		$this->server = $server;
	}

	/** Starts a request; the result is for wait(). */
	abstract public function start( array $asked );

	/** Waits for the end; returns whether there is a response, or false if the process was killed. */
	abstract public function wait( $started, string $file ): bool;
}

/** A forked child of the test. */
final class Forked_Runner extends Php_Runner {
	public function start( array $asked ) {
		$pid = pcntl_fork();
		if ( 0 !== $pid ) {
			return $pid;
		}
		global $wpdb, $failed;
		$failed = 0;
		$wpdb->db_connect( false );
		// Runs after the plugin's own shutdown functions: the parent's connections must not be closed.
		register_shutdown_function( static function () {
			register_shutdown_function( static function () {
				posix_kill( getmypid(), SIGKILL );
			} );
		} );
		ini_set( 'log_errors', '1' );
		ini_set( 'error_log', $asked['log'] );
		Kill_Points::$end = static function () {
			posix_kill( getmypid(), SIGKILL );
		};
		$asked['body'] = fopen( "{$asked['file']}.in", 'rb' );
		Request_Runner::answer( $asked );
		exit( 0 );
	}

	public function wait( $started, string $file ): bool {
		pcntl_waitpid( $started, $status );
		$answered = 0 < filesize( $file );
		check( $answered || pcntl_wifsignaled( $status ), 'the child ended without an answer' );
		return $answered;
	}
}

/** PHP processes that this test kills when the plugin reports the chosen step. */
abstract class Process_Runner extends Php_Runner {
	/** Starts a program; its errors go to the log, whose end is part of a failure's message. */
	protected function open( array $command, string $log, array $env ): array {
		$process = proc_open( $command, array( array( 'pipe', 'r' ), array( 'pipe', 'w' ), array( 'file', $log, 'a' ) ), $pipes, null, $env + getenv() );
		return array( $process, $pipes );
	}

	/** Waits for a condition; returns false if the process is to be killed. */
	protected static function until( string $file, callable $so ): bool {
		$until = microtime( true ) + Database_Server::DEADLINE;
		while ( ! $so() ) {
			clearstatcache();
			if ( file_exists( "$file.kill" ) ) {
				return false;
			}
			check( microtime( true ) < $until, 'an answer in time' );
		}
		return true;
	}

	protected static function ask_file( array $asked ): string {
		file_put_contents( "{$asked['file']}.asked", serialize( $asked ) );
		return "{$asked['file']}.asked";
	}
}

final class Small_Host_Runner extends Process_Runner {
	public function start( array $asked ) {
		$command = array_merge( Database_Server::ends_with_this_process(), array( PHP_BINARY, '-n', '-d', 'extension=mysqlnd', '-d', 'extension=mysqli', '-d', 'zend_extension=opcache', '-d', 'opcache.enable_cli=1', '-d', "opcache.file_cache={$this->server->folder}/opcache", '-d', 'opcache.file_cache_only=1' ) );
		foreach ( $this->limits as $name => $value ) {
			array_push( $command, '-d', "$name=$value" );
		}
		return $this->open( array_merge( $command, array( __DIR__ . '/run-request.php' ) ), $asked['log'], array( 'WPCLONE_ASKED' => self::ask_file( $asked ) ) );
	}

	public function wait( $started, string $file ): bool {
		list( $process, $pipes ) = $started;
		$out      = '';
		$answered = self::until(
			$file,
			static function () use ( $pipes, &$out ) {
				$read = array( $pipes[1] );
				$none = array();
				if ( 1 === stream_select( $read, $none, $none, 0, 2000 ) ) {
					$out .= fread( $pipes[1], 65536 );
				}
				return feof( $pipes[1] );
			}
		);
		proc_terminate( $process, 9 );
		proc_close( $process );
		clearstatcache();
		check( ! $answered || 0 < filesize( $file ), "an answer: $out" . Test_Site::tail( "{$this->server->folder}/php.log" ) );
		return $answered;
	}
}

/** Answers requests one after the other in a Node.js program. */
final class Wasm_Runner extends Process_Runner {
	private $process;
	private $pipes;
	/** @var string Output that was not processed yet. */
	private $said = '';

	public function start( array $asked ) {
		if ( null === $this->process ) {
			$settings = array(
				'version' => $this->name,
				'folder'  => $this->server->folder,
				'socket'  => $this->server->socket,
				'ini'     => $this->limits,
			);
			list( $this->process, $this->pipes ) = $this->open( array_merge( Database_Server::ends_with_this_process(), array( 'node', __DIR__ . '/run-requests.mjs', json_encode( $settings ) ) ), $asked['log'], array() );
		}
		fwrite( $this->pipes[0], self::ask_file( $asked ) . "\n" );
		return null;
	}

	public function wait( $started, string $file ): bool {
		$answered = self::until(
			$file,
			function () use ( $file ) {
				$read = array( $this->pipes[1] );
				$none = array();
				if ( 1 === stream_select( $read, $none, $none, 0, 2000 ) ) {
					$this->said .= fread( $this->pipes[1], 65536 );
				}
				return false !== strpos( $this->said, "$file.asked\n" ) || feof( $this->pipes[1] );
			}
		);
		clearstatcache();
		if ( $answered && 0 < filesize( $file ) ) {
			$this->said = str_replace( "$file.asked\n", '', $this->said );
			return true;
		}
		$said = $this->said;
		$this->end();
		check( ! $answered, "an answer: $said" . Test_Site::tail( "{$this->server->folder}/php.log" ) );
		return false;
	}

	private function end(): void {
		if ( null !== $this->process ) {
			proc_terminate( $this->process, 9 );
			proc_close( $this->process );
		}
		$this->process = null;
		$this->said    = '';
	}

	public function __destruct() {
		$this->end();
	}
}
