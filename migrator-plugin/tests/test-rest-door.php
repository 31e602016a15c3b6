<?php
/**
 * The second way in: REST.
 */

require __DIR__ . '/load.php';

use Wpclone\Migrator\Doors;

/** Sends a request to the registered REST route. */
function rest( array $fields ): WP_REST_Response {
	Doors::register_rest();
	$_GET    = array( '_' => $fields['unique'] );
	$_SERVER = array(
		'REQUEST_METHOD'             => $fields['method'],
		'HTTP_X_WPCLONE_TIMESTAMP'   => $fields['timestamp'],
		'HTTP_X_WPCLONE_NONCE'       => $fields['nonce'],
		'HTTP_X_WPCLONE_SIGNATURE'   => $fields['signature'],
	) + $_SERVER;
	return ( Wordpress_Stand_In::$routes['wpclone-migrator/v1/status']['callback'] )();
}

test(
	'the route takes POST, is not listed, and is the only one',
	static function () {
		Doors::register_rest();
		same( array( 'wpclone-migrator/v1/status' ), array_keys( Wordpress_Stand_In::$routes ), 'routes' );
		$route = Wordpress_Stand_In::$routes['wpclone-migrator/v1/status'];
		same( 'POST', $route['methods'], 'methods' );
		same( false, $route['show_in_index'], 'listed' );
	}
);

test(
	'a genuine request is answered, a replay is refused with nothing but 403',
	static function () {
		global $wp_version;
		$wp_version = '6.1.9';
		$key        = opened( time(), true );
		$fields     = signed( $key, array( 'timestamp' => (string) time(), 'body' => '' ) );
		$answer     = rest( $fields );
		same( 200, $answer->status, 'status' );
		same( 'no-store', $answer->headers['Cache-Control'], 'caching' );
		$names = array( 'plugin_version', 'wordpress', 'php', 'import_enabled', 'open_until', 'site_url', 'home_url', 'multisite' );
		same( $names, array_keys( (array) $answer->data ), 'members' );
		same( array( '6.1.9', PHP_VERSION, true ), array( $answer->data->wordpress, $answer->data->php, $answer->data->import_enabled ), 'values' );
		check( false === strpos( (string) json_encode( $answer ), $key ), 'the answer has the key in it' );

		$again = rest( $fields );
		same( 403, $again->status, 'replay' );
		same( '{}', json_encode( $again->data ), 'replay' );
	}
);

test(
	'a request that was signed for another route is refused',
	static function () {
		$fields = signed( opened( time() ), array( 'route' => 'other', 'timestamp' => (string) time(), 'body' => '' ) );
		same( 403, rest( $fields )->status, 'status' );
	}
);
