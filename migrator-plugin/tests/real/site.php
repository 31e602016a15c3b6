<?php
/**
 * A real WordPress with the plugin, on a database of its own, for tests. Each request is answered by a process that may
 * be killed at any of its steps.
 */

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\Frame_Reader;
use Wpclone\Migrator\Frame_Writer;
use Wpclone\Migrator\Json_Object;

require __DIR__ . '/server.php';
require __DIR__ . '/php.php';

/** The answer that a child gave. */
final class Got {
	public $status;
	public $body;
	/** @var array Decoded JSON, or the members of E. */
	public $json = array();
	/** @var array[] Kind and payload. */
	public $frames = array();
	public $baseline;
	public $peak;
	/** @var int Steps that it took. */
	public $steps;
	/** @var array What the PHP is that answered. */
	public $php;
}

final class Site {
	public $server;
	public $path;
	public $link;
	public $key;
	/** @var Php What answers. */
	public $php;

	/** Null where something is missing that it needs. */
	public static function make(): ?self {
		$from = Server::cache() . '/wordpress/bookworm';
		if ( ! is_file( "$from/wp-load.php" ) || ! extension_loaded( 'mysqli' ) || ! function_exists( 'pcntl_fork' ) ) {
			echo "SKIPPED: these tests need a WordPress in $from, and PHP's mysqli and pcntl\n";
			return null;
		}
		$server = Server::start();
		return null === $server ? null : new self( $server, $from );
	}

	private function __construct( Server $server, string $from ) {
		$this->server = $server;
		$this->php    = Php::of( $server );
		mkdir( "{$server->folder}/web" );
		$this->path = "{$server->folder}/web/site";
		$server->run( array( 'cp', '-a', $from, $this->path ) );
		$server->run( array( 'cp', '-a', realpath( __DIR__ . '/../../wpclone-migrator' ), "{$this->path}/wp-content/plugins/wpclone-migrator" ) );
		$root = $server->link();
		mysqli_query( $root, 'CREATE DATABASE site' );
		mysqli_query( $root, "CREATE USER site@localhost IDENTIFIED BY 'site'" );
		mysqli_query( $root, 'GRANT ALL ON site.* TO site@localhost' );
		file_put_contents( "{$this->path}/wp-config.php", "<?php\ndefine('DB_NAME','site');define('DB_USER','site');define('DB_PASSWORD','site');define('DB_HOST',getenv('WPCLONE_DB_HOST')?:'localhost:{$server->socket}');define('DB_CHARSET','utf8mb4');define('DB_COLLATE','');define('DISABLE_WP_CRON',true);define('WP_HTTP_BLOCK_EXTERNAL',true);\n\$table_prefix='wp_';\nif(!defined('ABSPATH'))define('ABSPATH',__DIR__.'/');\nrequire_once ABSPATH.'wp-settings.php';\n" );
		$server->run( array( PHP_BINARY, __DIR__ . '/install.php' ), $this->path );
		$this->link = $server->link( 'site' );
	}

	/** Loads WordPress into this process. Called once, by the test file itself: WordPress wants to be global. */
	public function awake(): void {
		require_once "{$this->path}/wp-content/plugins/wpclone-migrator/includes/load.php";
		check( Access_Window::open( time(), true ), 'opens' );
		$this->key = (string) Access_Window::load()->key( time() );
	}

	/** Whether the database is a MariaDB. */
	public function is_mariadb(): bool {
		return false !== stripos( (string) $this->value( 'SELECT VERSION()' ), 'mariadb' );
	}

	/** One value, or null. */
	public function value( string $sql ): ?string {
		$result = mysqli_query( $this->link, $sql );
		check( false !== $result, 'database: ' . mysqli_error( $this->link ) . " in $sql" );
		return true === $result ? null : ( $result->fetch_row()[0] ?? null );
	}

	/** @return array[] */
	public function rows( string $sql ): array {
		$result = mysqli_query( $this->link, $sql );
		check( false !== $result, 'database: ' . mysqli_error( $this->link ) . " in $sql" );
		return $result->fetch_all( MYSQLI_NUM );
	}

	/** Runs a statement. */
	public function sql( string $sql ): void {
		check( false !== mysqli_query( $this->link, $sql ), 'database: ' . mysqli_error( $this->link ) . " in $sql" );
	}

	/** Begins a request and does not wait: what answers it, and the file that the answer comes into. */
	public function start( string $route, $body, int $kill = 0 ): array {
		$file = tempnam( $this->server->folder, 'answer' );
		file_put_contents( "$file.in", is_array( $body ) ? Json_Object::encode( $body ) : $body );
		$asked = array(
			'route'  => $route,
			'key'    => $this->key,
			'kill'   => $kill,
			'file'   => $file,
			'log'    => "{$this->server->folder}/php.log",
			'site'   => $this->path,
			'server' => array_intersect_key( $_SERVER, array( 'HTTP_HOST' => 0, 'DOCUMENT_ROOT' => 0 ) ),
		);
		return array( $this->php->start( $asked ), $file );
	}

	/** Waits for the answer of a request; null if its process was killed. */
	public function wait( array $started ): ?Got {
		list( $process, $file ) = $started;
		try {
			return $this->php->wait( $process, $file ) ? self::got( $file ) : null;
		} finally {
			array_map( 'unlink', glob( "$file*" ) );
		}
	}

	private static function got( string $file ): Got {
		$got = new Got();
		list( $got->status, $got->baseline, $got->peak, $got->steps, $errors, $got->php ) = unserialize( file_get_contents( $file ) );
		same( array(), $errors, 'errors in the plugin' );
		$got->body = file_get_contents( "$file.body" );
		if ( 0 === strncmp( $got->body, Frame_Writer::MAGIC, 8 ) ) {
			$stream = fopen( 'php://memory', 'w+b' );
			fwrite( $stream, substr( $got->body, 0, -32 ) );
			rewind( $stream );
			foreach ( Frame_Reader::read( $stream ) as $kind => $payload ) {
				$got->frames[] = array( $kind, $payload );
			}
			$got->json = json_decode( end( $got->frames )[1], true );
		} else {
			$got->json = (array) json_decode( $got->body, true );
		}
		return $got;
	}

	/** A request and its answer. */
	public function ask( string $route, $body = array(), int $kill = 0 ): ?Got {
		return $this->wait( $this->start( $route, $body, $kill ) );
	}

	/** The same, which has to go well; the answer's members. */
	public function good( string $route, $body = array() ): array {
		$got = $this->ask( $route, $body );
		check( null !== $got && 200 === $got->status && ! isset( $got->json['error'] ), "$route: " . ( null === $got ? 'killed' : "{$got->status} " . substr( json_encode( $got->json ), 0, 300 ) ) . self::tail( "{$this->server->folder}/php.log" ) );
		// What it took is told with every answer, and is another matter.
		check( $got->json['memory']['baseline'] > 0 && $got->json['memory']['baseline'] <= $got->json['memory']['peak'], "$route: memory" );
		return array_diff_key( $got->json, array( 'memory' => 0 ) );
	}

	/** The end of a log, for a failure. */
	public static function tail( string $file ): string {
		return is_file( $file ) ? ' ' . substr( file_get_contents( $file ), -300 ) : '';
	}

	/** The same until it says that it is done. */
	public function until_done( string $route, array $body ): array {
		for ( $i = 0; $i < 500; $i++ ) {
			$told = $this->good( $route, $body );
			if ( true === $told['done'] ) {
				return $told;
			}
		}
		throw new RuntimeException( "$route is never done" );
	}

	/** Which error a request ends with. */
	public function error( string $route, $body ): array {
		$got = $this->ask( $route, $body );
		check( null !== $got && isset( $got->json['error'] ), "$route did not fail: " . ( null === $got ? 'killed' : substr( $got->body, 0, 200 ) ) );
		return $got->json + array( 'status' => $got->status );
	}

	/** Frames of a body: `J`, and the others as kind and payload. */
	public static function frames( array $head, array $frames ): string {
		$text = Frame_Writer::MAGIC;
		foreach ( array_merge( array( array( 'J', Json_Object::encode( $head ) ) ), $frames ) as list( $kind, $payload ) ) {
			$text .= $kind . pack( 'N', strlen( $payload ) ) . $payload;
		}
		return $text;
	}

	/** Names of our tables that there are. */
	public function ours(): array {
		return array_column( $this->rows( "SHOW TABLES LIKE 'wp\\_wpclone\\_%'" ), 0 );
	}

	/** Staging folders that there are. */
	public function folders(): array {
		return array_merge( glob( "{$this->server->folder}/web/wpclone-*" ), glob( "{$this->path}/wp-content/wpclone-*" ) );
	}
}
