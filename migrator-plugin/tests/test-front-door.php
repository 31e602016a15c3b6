<?php
/**
 * The front controller: the plugin answers while it is loaded, and ends the request. What came of
 * it is looked at when PHP shuts down.
 */

require __DIR__ . '/load.php';

use Wpclone\Migrator\Endpoints;

register_shutdown_function(
	static function () {
		$answer = (string) ob_get_contents();
		$status = Wordpress_Stand_In::$status;
		ob_clean();
		test(
			'asked, it answers 403 and an empty object, whatever was printed before, and ends the request',
			static function () use ( $answer, $status ) {
				same( array( 403, '{}' ), array( $status, $answer ), 'answer' );
			}
		);
		test(
			'a request without our parameter is none of its business',
			static function () {
				$_GET = array( 'p' => '1' );
				Endpoints::handle_front_request();
				same( null, Wordpress_Stand_In::$status, 'status' );
			}
		);
	}
);

// A buffer that cannot be removed, as hosts have them, and above it one that somebody else filled.
ob_start( null, 0, PHP_OUTPUT_HANDLER_CLEANABLE | PHP_OUTPUT_HANDLER_FLUSHABLE );
ob_start();
echo 'noise';
$wpdb                      = new Wpdb_Stand_In();
$_GET                      = array( 'wpclone_migrator' => 'status' );
$_SERVER['REQUEST_METHOD'] = 'GET';
Endpoints::handle_front_request();
echo 'it went on';
