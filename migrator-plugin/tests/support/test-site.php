<?php
/**
 * A real WordPress with the plugin and its own database. Each request is answered by a process that may be killed at any
 * step.
 */

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\Frame_Reader;
use Wpclone\Migrator\Frame_Writer;
use Wpclone\Migrator\Json_Object;

require __DIR__ . '/database-server.php';
require __DIR__ . '/site-template.php';
require __DIR__ . '/php-runner.php';

/** The response to a request. */
final class Site_Response {
	public $status;
	public $body;
	/** @var array Decoded JSON, or the fields of frame E. */
	public $json = array();
	/** @var array[] Kind and payload. */
	public $frames = array();
	public $baseline;
	public $peak;
	/** @var int Steps that the request took. */
	public $steps;
	/** @var array Facts about the PHP that answered. */
	public $php;
}

final class Test_Site {
	public $server;
	public $path;
	public $link;
	public $key;
	/** @var Php_Runner The PHP that answers requests. */
	public $php;

	/** A site with its server. Fails if something is not installed. */
	public static function make(): self {
		$wordpress = Database_Server::cache() . '/wordpress/bookworm';
		if ( ! is_file( "$wordpress/wp-load.php" ) || ! extension_loaded( 'mysqli' ) || ! function_exists( 'pcntl_fork' ) ) {
			throw new RuntimeException( "these tests need a WordPress in $wordpress, and PHP's mysqli and pcntl" );
		}
		Database_Server::require_programs();
		return new self( $wordpress );
	}

	private function __construct( string $wordpress ) {
		$template     = Site_Template::data( $wordpress );
		$this->server = Database_Server::start( $template );
		$this->php    = Php_Runner::of( $this->server );
		$this->path   = self::copy_files( $this->server, $wordpress );
		if ( null === $template ) {
			self::install( $this->server, $this->path );
		}
		$this->link = $this->server->link( 'site' );
	}

	/** Copies WordPress and the plugin into the server's folder, and writes wp-config.php; returns the folder. */
	public static function copy_files( Database_Server $server, string $wordpress ): string {
		mkdir( "{$server->folder}/web" );
		$path = "{$server->folder}/web/site";
		$server->run( array( 'cp', '-a', $wordpress, $path ) );
		$server->run( array( 'cp', '-a', realpath( __DIR__ . '/../../wpclone-migrator' ), "$path/wp-content/plugins/wpclone-migrator" ) );
		file_put_contents( "$path/wp-config.php", "<?php\ndefine('DB_NAME','site');define('DB_USER','site');define('DB_PASSWORD','site');define('DB_HOST',getenv('WPCLONE_DB_HOST')?:'localhost:{$server->socket}');define('DB_CHARSET','utf8mb4');define('DB_COLLATE','');define('DISABLE_WP_CRON',true);define('WP_HTTP_BLOCK_EXTERNAL',true);\n\$table_prefix='wp_';\nif(!defined('ABSPATH'))define('ABSPATH',__DIR__.'/');\nrequire_once ABSPATH.'wp-settings.php';\n" );
		return $path;
	}

	/** Creates the database and its user, and installs WordPress. */
	public static function install( Database_Server $server, string $path ): void {
		$root = $server->link();
		mysqli_query( $root, 'CREATE DATABASE site' );
		mysqli_query( $root, "CREATE USER site@localhost IDENTIFIED BY 'site'" );
		mysqli_query( $root, 'GRANT ALL ON site.* TO site@localhost' );
		$server->run( array( PHP_BINARY, __DIR__ . '/install.php' ), $path );
	}

	/** Loads the plugin and opens the access window. WordPress itself is loaded by the test file, because it needs global scope. */
	public function load_plugin(): void {
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

	/** Sends a request without waiting; returns its process and the file of the response. `$fields` replace signed fields. */
	public function send( string $route, $body, int $kill = 0, array $fields = array() ): array {
		$file = tempnam( $this->server->folder, 'answer' );
		file_put_contents( "$file.in", is_array( $body ) ? Json_Object::encode( $body ) : $body );
		$asked = array(
			'route'  => $route,
			'key'    => $this->key,
			'kill'   => $kill,
			'fields' => $fields,
			'file'   => $file,
			'log'    => "{$this->server->folder}/php.log",
			'site'   => $this->path,
			'server' => array_intersect_key( $_SERVER, array( 'HTTP_HOST' => 0, 'DOCUMENT_ROOT' => 0 ) ),
		);
		return array( $this->php->start( $asked ), $file );
	}

	/** Waits for the response of a request; null if its process was killed. */
	public function await( array $started ): ?Site_Response {
		list( $process, $file ) = $started;
		try {
			return $this->php->wait( $process, $file ) ? self::parse_response( $file ) : null;
		} finally {
			array_map( 'unlink', glob( "$file*" ) );
		}
	}

	private static function parse_response( string $file ): Site_Response {
		$got = new Site_Response();
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

	/** Sends a request and waits for the response. */
	public function request( string $route, $body = array(), int $kill = 0 ): ?Site_Response {
		return $this->await( $this->send( $route, $body, $kill ) );
	}

	/** The same for a request that must succeed; returns the fields of the response. */
	public function request_ok( string $route, $body = array() ): array {
		$got = $this->request( $route, $body );
		check( null !== $got && 200 === $got->status && ! isset( $got->json['error'] ), "$route: " . ( null === $got ? 'killed' : "{$got->status} " . substr( json_encode( $got->json ), 0, 300 ) ) . self::tail( "{$this->server->folder}/php.log" ) );
		// Memory is part of every response, and differs every time.
		check( $got->json['memory']['baseline'] > 0 && $got->json['memory']['baseline'] <= $got->json['memory']['peak'], "$route: memory" );
		return array_diff_key( $got->json, array( 'memory' => 0 ) );
	}

	/** The end of a log, for failure messages. */
	public static function tail( string $file ): string {
		return is_file( $file ) ? ' ' . substr( file_get_contents( $file ), -300 ) : '';
	}

	/** Repeats a request until it is done. */
	public function until_done( string $route, array $body ): array {
		for ( $i = 0; $i < 500; $i++ ) {
			$result = $this->request_ok( $route, $body );
			if ( true === $result['done'] ) {
				return $result;
			}
		}
		throw new RuntimeException( "$route is never done" );
	}

	/** Sends a request that must fail; returns the error. */
	public function request_error( string $route, $body ): array {
		$got = $this->request( $route, $body );
		check( null !== $got && isset( $got->json['error'] ), "$route did not fail: " . ( null === $got ? 'killed' : substr( $got->body, 0, 200 ) ) );
		return $got->json + array( 'status' => $got->status );
	}

	/** A body of frames: `J`, and others given as kind and payload. */
	public static function encode_frames( array $head, array $frames ): string {
		$text = Frame_Writer::MAGIC;
		foreach ( array_merge( array( array( 'J', Json_Object::encode( $head ) ) ), $frames ) as list( $kind, $payload ) ) {
			$text .= $kind . pack( 'N', strlen( $payload ) ) . $payload;
		}
		return $text;
	}

	/** Names of the plugin's tables but the one with the key and the nonces, which is there while access is enabled. */
	public function plugin_tables(): array {
		return array_values( array_diff( array_column( $this->rows( "SHOW TABLES LIKE 'wp\\_wpclone\\_%'" ), 0 ), array( 'wp_wpclone_migrator' ) ) );
	}

	/** The stored access window. */
	public function access_window(): string {
		return (string) $this->value( "SELECT value FROM wp_wpclone_migrator WHERE name = 'access_window'" );
	}

	/** Staging folders. */
	public function staging_folders(): array {
		return array_merge( glob( "{$this->server->folder}/web/wpclone-*" ), glob( "{$this->path}/wp-content/wpclone-*" ) );
	}
}
