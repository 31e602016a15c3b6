<?php
/**
 * Which PHP answers the requests of a test. By itself it is a child of the test, with what is loaded there. With
 * WPCLONE_TEST_PHP it is another one, which loads WordPress anew for each:
 *
 * - small: this machine's, as on the smallest host: no php.ini, so no extension but mysqli, none for archives; little
 *   memory and time; nothing that runs programs.
 * - 7.4, 8.4: a WebAssembly build of that version, with the same limits.
 */

use Wpclone\Migrator\Steps;

require_once __DIR__ . '/child.php';

abstract class Php {
	/** What a small host allows. */
	const SMALL = array(
		'memory_limit'       => '64M',
		'max_execution_time' => '10',
		'disable_functions'  => 'exec,shell_exec,system,passthru,proc_open,popen,pcntl_exec,pcntl_fork',
		'disable_classes'    => 'ZipArchive',
	);

	/** @var string Which one it is. */
	public $name = '';

	/** @var array<string, string> What another PHP allows. */
	public $limits = self::SMALL;

	/** @var Server */
	protected $server;

	public static function of( Server $server ): self {
		$wanted = getenv( 'WPCLONE_TEST_PHP' ) ?: '';
		if ( ! in_array( $wanted, array( '', 'small', '7.4', '8.4' ), true ) ) {
			throw new RuntimeException( 'WPCLONE_TEST_PHP is small, 7.4, 8.4 or nothing' );
		}
		$classes   = array( '' => Forked_Php::class, 'small' => Small_Php::class );
		$class     = $classes[ $wanted ] ?? Wasm_Php::class;
		$php       = new $class( $server );
		$php->name = $wanted;
		mkdir( "{$server->folder}/opcache" );
		return $php;
	}

	final private function __construct( Server $server ) {
		$this->server = $server;
	}

	/** Begins to answer. What is given is for wait(). */
	abstract public function start( array $asked );

	/** Waits for the end; whether there is an answer, and not a kill. */
	abstract public function wait( $started, string $file ): bool;
}

/** A child of the test. */
final class Forked_Php extends Php {
	public function start( array $asked ) {
		$pid = pcntl_fork();
		if ( 0 !== $pid ) {
			return $pid;
		}
		global $wpdb, $failed;
		$failed = 0;
		$wpdb->db_connect( false );
		// The last thing of all, after the plugin's own end: connections that are the parent's must not be closed.
		register_shutdown_function( static function () {
			register_shutdown_function( static function () {
				posix_kill( getmypid(), SIGKILL );
			} );
		} );
		ini_set( 'log_errors', '1' );
		ini_set( 'error_log', $asked['log'] );
		Steps::$end = static function () {
			posix_kill( getmypid(), SIGKILL );
		};
		$asked['body'] = fopen( "{$asked['file']}.in", 'rb' );
		Child::answer( $asked );
		exit( 0 );
	}

	public function wait( $started, string $file ): bool {
		pcntl_waitpid( $started, $status );
		$answered = 0 < filesize( $file );
		check( $answered || pcntl_wifsignaled( $status ), 'the child ended without an answer' );
		return $answered;
	}
}

/** Programs that are ended from here, when the plugin in them says that it is at the step to be killed at. */
abstract class Other_Php extends Php {
	/** Runs a program, whose errors go to the log that a failure tells the end of. */
	protected function open( array $command, string $log, array $env ): array {
		$process = proc_open( $command, array( array( 'pipe', 'r' ), array( 'pipe', 'w' ), array( 'file', $log, 'a' ) ), $pipes, null, $env + getenv() );
		return array( $process, $pipes );
	}

	/** Waits until something is so; whether it was not the kill. */
	protected static function until( string $file, callable $so ): bool {
		$until = microtime( true ) + Server::DEADLINE;
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

final class Small_Php extends Other_Php {
	public function start( array $asked ) {
		$command = array_merge( Server::ends_with_us(), array( PHP_BINARY, '-n', '-d', 'extension=mysqlnd', '-d', 'extension=mysqli', '-d', 'zend_extension=opcache', '-d', 'opcache.enable_cli=1', '-d', "opcache.file_cache={$this->server->folder}/opcache", '-d', 'opcache.file_cache_only=1' ) );
		foreach ( $this->limits as $name => $value ) {
			array_push( $command, '-d', "$name=$value" );
		}
		return $this->open( array_merge( $command, array( __DIR__ . '/answer.php' ) ), $asked['log'], array( 'WPCLONE_ASKED' => self::ask_file( $asked ) ) );
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
		check( ! $answered || 0 < filesize( $file ), "an answer: $out" . Site::tail( "{$this->server->folder}/php.log" ) );
		return $answered;
	}
}

/** It answers one after the other, in a program of Node's. */
final class Wasm_Php extends Other_Php {
	private $process;
	private $pipes;
	/** @var string What it said and nobody took yet. */
	private $said = '';

	public function start( array $asked ) {
		if ( null === $this->process ) {
			$settings = array(
				'version' => $this->name,
				'folder'  => $this->server->folder,
				'socket'  => $this->server->socket,
				'ini'     => $this->limits,
			);
			list( $this->process, $this->pipes ) = $this->open( array_merge( Server::ends_with_us(), array( 'node', __DIR__ . '/answer.mjs', json_encode( $settings ) ) ), $asked['log'], array() );
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
		check( ! $answered, "an answer: $said" . Site::tail( "{$this->server->folder}/php.log" ) );
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
