<?php
/**
 * The second way in: REST.
 */

require __DIR__ . '/load.php';

use Wpclone\Migrator\Endpoints;
use Wpclone\Migrator\Route_Table;

register_shutdown_function(
	static function () {
		$answer = (string) ob_get_contents();
		$status = Wordpress_Stand_In::$status;
		ob_clean();
		test(
			'asked by REST without a signature, it answers 403 and an empty object, and ends the request',
			static function () use ( $answer, $status ) {
				same( array( 403, '{}' ), array( $status, $answer ), 'answer' );
			}
		);
		test(
			'each route takes POST, is not listed, and there are no others',
			static function () {
				Endpoints::register_rest_routes();
				$names = array();
				foreach ( Wordpress_Stand_In::$routes as $path => $route ) {
					$names[] = substr( $path, strlen( 'wpclone-migrator/v1/' ) );
					same( 'POST', $route['methods'], 'methods' );
					same( false, $route['show_in_index'], 'listed' );
				}
				same( array_keys( Route_Table::IMPORT_ONLY ), $names, 'routes' );
			}
		);
	}
);

ob_start( null, 0, PHP_OUTPUT_HANDLER_CLEANABLE | PHP_OUTPUT_HANDLER_FLUSHABLE );
$wpdb = new Wpdb_Stand_In();
Endpoints::register_rest_routes();
$_GET                      = array( '_' => str_repeat( 'a', 32 ) );
$_SERVER['REQUEST_METHOD'] = 'POST';
( Wordpress_Stand_In::$routes['wpclone-migrator/v1/status']['callback'] )();
echo 'it went on';
