<?php
/**
 * Stubs for the few WordPress functions that the plugin calls, so that its logic can run on any PHP. That it works in a real
 * WordPress is tested in wordpress/, and from outside in tests/ of the repository.
 */

define( 'ABSPATH', __DIR__ . '/' );

/** Values that the stubs return, and calls that they recorded. */
final class Wordpress_Stub {
	public static $user_may;
	public static $nonce_valid;
	public static $is_admin;
	public static $multisite;
	public static $actions;
	public static $routes;
	public static $status;
	public static $printed;
	public static $asked_capability;

	public static function reset(): void {
		self::$user_may         = true;
		self::$nonce_valid      = true;
		self::$is_admin         = false;
		self::$multisite        = false;
		self::$actions          = array();
		self::$routes           = array();
		self::$status           = null;
		self::$printed          = null;
		self::$asked_capability = null;
	}
}
Wordpress_Stub::reset();

/** $wpdb with a database in SQLite; accepts the plugin's MySQL statements. */
final class Wpdb_Stub {
	public $options = 'wp_options';
	public $base_prefix = 'wp_';
	private $pdo;
	private $errors_are_suppressed = false;

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
		try {
			return $this->pdo->exec( self::for_sqlite( $sql ) );
		} catch ( PDOException $e ) {
			return $this->failure( $e );
		}
	}

	public function get_var( string $sql ) {
		try {
			$value = $this->pdo->query( self::for_sqlite( $sql ) )->fetchColumn();
		} catch ( PDOException $e ) {
			$value = $this->failure( $e );
		}
		return false === $value ? null : (string) $value;
	}

	private static function for_sqlite( string $sql ): string {
		$sql = str_replace( array( 'INSERT IGNORE', ' FORCE INDEX (PRIMARY)' ), array( 'INSERT OR IGNORE', '' ), $sql );
		return preg_replace( "/LIKE ('[^']*')/", "LIKE $1 ESCAPE '\\'", $sql );
	}

	/** WordPress prints and logs an error that is not suppressed. */
	private function failure( PDOException $e ): bool {
		check( $this->errors_are_suppressed, 'an error in a page: ' . $e->getMessage() );
		return false;
	}

	public function suppress_errors( bool $suppress ): bool {
		$before                      = $this->errors_are_suppressed;
		$this->errors_are_suppressed = $suppress;
		return $before;
	}

	public function hide_errors(): void {}

	/** The names of the plugin's rows, sorted; empty if its table does not exist. */
	public function names(): array {
		return $this->has_own_table() ? $this->pdo->query( 'SELECT name FROM wp_wpclone_migrator ORDER BY 1' )->fetchAll( PDO::FETCH_COLUMN ) : array();
	}

	/** Whether the plugin's table exists. */
	public function has_own_table(): bool {
		return false !== $this->pdo->query( "SELECT 1 FROM sqlite_master WHERE name = 'wp_wpclone_migrator'" )->fetchColumn();
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

function add_action( string $hook, $what ) { Wordpress_Stub::$actions[ $hook ] = $what; }
function is_admin() { return Wordpress_Stub::$is_admin; }
function is_multisite() { return Wordpress_Stub::$multisite; }
function get_option( $name ) {
	$options = array( 'siteurl' => 'https://a.example/wp', 'home' => 'https://a.example', 'time_format' => 'H:i' );
	return $options[ $name ];
}
function get_file_data( string $file, array $wanted ) {
	preg_match( '/^[ *]*' . $wanted['version'] . ':(.*)$/m', file_get_contents( $file ), $found );
	return array( 'version' => trim( $found[1] ) );
}
function wp_json_encode( $value ) { return json_encode( $value ); }
/** Called when the response has been printed. */
function remove_action( string $hook, string $callback, int $priority ) {
	Wordpress_Stub::$printed = (string) ob_get_contents();
	ob_clean();
}
/** Not empty: tests that run when the request has ended print their results. */
function __return_empty_string( string $printed ) { return $printed; }
function status_header( int $status ) { Wordpress_Stub::$status = $status; }
function register_rest_route( string $space, string $path, array $args ) { Wordpress_Stub::$routes[ $space . $path ] = $args; }

function add_options_page( $title, $menu, $capability, $slug, $render ) {
	Wordpress_Stub::$asked_capability = $capability;
	return 'settings_page_' . $slug;
}
function current_user_can( string $capability ) {
	Wordpress_Stub::$asked_capability = $capability;
	return Wordpress_Stub::$user_may;
}
function check_admin_referer( string $action ) {
	if ( ! Wordpress_Stub::$nonce_valid ) {
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
