<?php
/**
 * The front controller: the plugin responds while it is loaded, and ends the request. The output is checked in a shutdown
 * function.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Endpoints;

register_shutdown_function(
	static function () {
		$answer = Wordpress_Stub::$printed;
		$status = Wordpress_Stub::$status;
		test(
			'an unsigned request gets 403 and an empty object, whatever was printed before, and ends',
			static function () use ( $answer, $status ) {
				same( array( 403, '{}' ), array( $status, $answer ), 'answer' );
			}
		);
		test(
			'a request without the parameter is ignored',
			static function () {
				$_GET = array( 'p' => '1' );
				Endpoints::handle_front_request();
				same( null, Wordpress_Stub::$status, 'status' );
			}
		);
	}
);

// A buffer that cannot be removed, as some hosts have, and above it one with another plugin's output.
ob_start( null, 0, PHP_OUTPUT_HANDLER_CLEANABLE | PHP_OUTPUT_HANDLER_FLUSHABLE );
ob_start();
echo 'noise';
$wpdb                      = new Wpdb_Stub();
$_GET                      = array( 'wpclone_migrator' => 'status' );
$_SERVER['REQUEST_METHOD'] = 'GET';
Endpoints::handle_front_request();
echo 'not ended';
