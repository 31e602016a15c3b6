<?php
/**
 * Stand-ins for the little of WordPress that the plugin calls, so that its own logic can be run on any PHP.
 * They are no WordPress: that the plugin works in a real one is shown by the tests in tests/ of the repository.
 */

define( 'ABSPATH', __DIR__ . '/' );

/** What the stand-ins were told and asked. */
final class Wordpress_Stand_In {
	public static $user_may;
	public static $nonce_valid;
	public static $is_admin;
	public static $multisite;
	public static $actions;
	public static $routes;
	public static $status;
	public static $asked_capability;

	public static function reset(): void {
		self::$user_may         = true;
		self::$nonce_valid      = true;
		self::$is_admin         = false;
		self::$multisite        = false;
		self::$actions          = array();
		self::$routes           = array();
		self::$status           = null;
		self::$asked_capability = null;
	}
}
Wordpress_Stand_In::reset();

/** $wpdb with an options table in SQLite; statements are taken as MySQL writes them. */
final class Wpdb_Stand_In {
	public $options = 'wp_options';
	private $pdo;

	public function __construct() {
		if ( ! extension_loaded( 'pdo_sqlite' ) ) {
			fwrite( STDERR, "These tests need PHP's extension pdo_sqlite.\n" );
			exit( 2 );
		}
		$this->pdo = new PDO( 'sqlite::memory:', null, null, array( PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION ) );
		$this->pdo->sqliteCreateFunction(
			'CONCAT',
			static function ( ...$texts ) {
				return implode( '', $texts );
			}
		);
		$this->pdo->exec( "CREATE TABLE wp_options (option_id INTEGER PRIMARY KEY, option_name TEXT UNIQUE, option_value TEXT NOT NULL, autoload TEXT NOT NULL DEFAULT 'yes')" );
	}

	public function prepare( string $sql, ...$values ): string {
		return vsprintf( str_replace( '%s', "'%s'", $sql ), str_replace( "'", "''", $values ) );
	}

	public function esc_like( string $text ): string {
		return addcslashes( $text, '_%\\' );
	}

	public function query( string $sql ) {
		$sql = str_replace( 'INSERT IGNORE', 'INSERT OR IGNORE', $sql );
		return $this->pdo->exec( preg_replace( "/LIKE ('[^']*')/", "LIKE $1 ESCAPE '\\'", $sql ) );
	}

	public function get_var( string $sql ) {
		$value = $this->pdo->query( preg_replace( "/LIKE ('[^']*')/", "LIKE $1 ESCAPE '\\'", $sql ) )->fetchColumn();
		return false === $value ? null : (string) $value;
	}

	public function hide_errors(): void {}

	/** For the tests: all option names, sorted. */
	public function names(): array {
		return $this->pdo->query( 'SELECT option_name FROM wp_options ORDER BY 1' )->fetchAll( PDO::FETCH_COLUMN );
	}
}

/** Thrown where WordPress would end the request. */
final class Died extends Exception {}
final class Redirected extends Exception {}

final class WP_REST_Response {
	public $data;
	public $status;
	public $headers;
	public function __construct( $data, int $status, array $headers ) {
		$this->data    = $data;
		$this->status  = $status;
		$this->headers = $headers;
	}
}

function add_action( string $hook, $what ) { Wordpress_Stand_In::$actions[ $hook ] = $what; }
function is_admin() { return Wordpress_Stand_In::$is_admin; }
function is_multisite() { return Wordpress_Stand_In::$multisite; }
function get_option( $name ) {
	$options = array( 'siteurl' => 'https://a.example/wp', 'home' => 'https://a.example', 'time_format' => 'H:i' );
	return $options[ $name ];
}
function get_file_data( string $file, array $wanted ) {
	preg_match( '/^[ *]*' . $wanted['version'] . ':(.*)$/m', file_get_contents( $file ), $found );
	return array( 'version' => trim( $found[1] ) );
}
function wp_json_encode( $value ) { return json_encode( $value ); }
function status_header( int $status ) { Wordpress_Stand_In::$status = $status; }
function register_rest_route( string $space, string $path, array $args ) { Wordpress_Stand_In::$routes[ $space . $path ] = $args; }

function add_options_page( $title, $menu, $capability, $slug, $render ) {
	Wordpress_Stand_In::$asked_capability = $capability;
	return 'settings_page_' . $slug;
}
function current_user_can( string $capability ) {
	Wordpress_Stand_In::$asked_capability = $capability;
	return Wordpress_Stand_In::$user_may;
}
function check_admin_referer( string $action ) {
	if ( ! Wordpress_Stand_In::$nonce_valid ) {
		throw new Died( '403' );
	}
}
function wp_die( $text, $title, array $args ) { throw new Died( (string) $args['response'] ); }
function wp_safe_redirect( string $to, int $status ) { throw new Redirected( "$status $to" ); }
function admin_url( string $path ) { return 'https://a.example/wp/wp-admin/' . $path; }
function wp_create_nonce( string $action ) { return 'nonce-of-' . $action; }
function wp_date( string $format, int $time ) { return gmdate( $format, $time ); }
function checked( bool $so ) { echo $so ? "checked='checked'" : ''; }
function submit_button( $text, $class, $name ) { echo '<input type="submit" name="', esc_attr( $name ), '" value="', esc_attr( $text ), '">'; }
function __( $text ) { return $text; }
function esc_html( $text ) { return htmlspecialchars( (string) $text, ENT_QUOTES ); }
function esc_attr( $text ) { return htmlspecialchars( (string) $text, ENT_QUOTES ); }
function esc_url( $text ) { return htmlspecialchars( (string) $text, ENT_QUOTES ); }
function esc_html__( $text ) { return esc_html( $text ); }
function esc_html_e( $text ) { echo esc_html( $text ); }
