<?php
/**
 * The REST endpoint.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Endpoints;
use Wpclone\Migrator\Route_Table;

register_shutdown_function(
	static function () {
		$answer = Wordpress_Stub::$printed;
		$status = Wordpress_Stub::$status;
		test(
			'an unsigned REST request gets 403 and an empty object, and ends',
			static function () use ( $answer, $status ) {
				same( array( 403, '{}' ), array( $status, $answer ), 'answer' );
			}
		);
		test(
			'every route accepts POST, is hidden from the index, and there are no other routes',
			static function () {
				$_GET = array( 'rest_route' => '/wpclone-migrator/v1/status' );
				Endpoints::register_rest_routes();
				$names = array();
				foreach ( Wordpress_Stub::$routes as $path => $route ) {
					$names[] = substr( $path, strlen( 'wpclone-migrator/v1/' ) );
					same( 'POST', $route['methods'], 'methods' );
					same( false, $route['show_in_index'], 'listed' );
				}
				same( array_keys( Route_Table::IMPORT_ONLY ), $names, 'routes' );
			}
		);
		test(
			'for any other request than a POST to one of our routes, none is registered',
			static function () {
				$others = array( null, '/', '/wp/v2/posts', '/wpclone-migrator', '/wpclone-migrator/v1', '/wpclone-migrator/v10/status', '/batch/v1', array( '/wpclone-migrator/v1/status' ) );
				foreach ( $others as $route ) {
					$_GET = array( 'rest_route' => $route );
					Endpoints::register_rest_routes();
					same( array(), Wordpress_Stub::$routes, (string) json_encode( $route ) );
				}
				$_GET = array( 'rest_route' => '/wpclone-migrator/v1/status' );
				foreach ( array( 'GET', 'OPTIONS', 'HEAD', 'PUT' ) as $method ) {
					$_SERVER['REQUEST_METHOD'] = $method;
					Endpoints::register_rest_routes();
					same( array(), Wordpress_Stub::$routes, $method );
				}
				$_SERVER['REQUEST_METHOD'] = 'POST';
			}
		);
	}
);

ob_start( null, 0, PHP_OUTPUT_HANDLER_CLEANABLE | PHP_OUTPUT_HANDLER_FLUSHABLE );
$wpdb                      = new Wpdb_Stub();
$_GET                      = array(
	'rest_route' => '/wpclone-migrator/v1/status',
	'_'          => str_repeat( 'a', 32 ),
);
$_SERVER['REQUEST_METHOD'] = 'POST';
Endpoints::register_rest_routes();
( Wordpress_Stub::$routes['wpclone-migrator/v1/status']['callback'] )();
echo 'not ended';
