<?php
/**
 * Answers one request of a test in a PHP process of its own. WPCLONE_ASKED names the file with the request.
 */

require __DIR__ . '/request-runner.php';

/** The request. */
$asked         = unserialize( file_get_contents( getenv( 'WPCLONE_ASKED' ) ) );
$asked['body'] = fopen( "{$asked['file']}.in", 'rb' );
$_SERVER       = $asked['server'] + $_SERVER;
Wpclone\Migrator\Kill_Points::$end = static function () use ( $asked ) {
	touch( "{$asked['file']}.kill" );
	while ( true ) {
		usleep( 10000 ); // The test kills this process now.
	}
};

require "{$asked['site']}/wp-load.php";
require_once "{$asked['site']}/wp-content/plugins/wpclone-migrator/includes/load.php";
ini_set( 'log_errors', '1' );
ini_set( 'error_log', $asked['log'] );
Request_Runner::answer( $asked );
