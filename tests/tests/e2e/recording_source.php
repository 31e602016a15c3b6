<?php
// A must-use plugin of a source. It records each request before it is answered, holds the requests that a test names, and
// changes the site in between like its users. The clone has it too, where it does nothing.
( function ( callable $change ) {
	$folder = dirname( ABSPATH );
	if ( ABSPATH !== LAB_TREE || PHP_SAPI === 'cli' ) {
		return;
	}
	$route  = $_GET['wpclone_migrator'] ?? '';
	$body   = '' === $route ? array() : (array) json_decode( file_get_contents( 'php://input' ), true );
	$script = "{$_SERVER['REQUEST_METHOD']} " . basename( $_SERVER['SCRIPT_NAME'] ) . ' ' . ( $_GET['action'] ?? $_GET['rest_route'] ?? '' );
	// A cursor is opaque except for `n`, the number of rows before it.
	$requests = array( array( '' === $route ? 'page' : $route, $body['table'] ?? $body['root'] ?? $script, $body['cursor']['n'] ?? 0 ) );
	foreach ( $body['files'] ?? array() as $file ) {
		$path     = substr( base64_decode( strtr( $file['id'], '-_', '+/' ) ), 17 );
		$requests[] = array( 'file', $path, $file['offset'] );
	}
	$append = function ( string $line ) use ( $folder ) {
		file_put_contents( "$folder/requests", "$line\n", FILE_APPEND | LOCK_EX );
	};
	foreach ( $requests as $request ) {
		list( $kind, $what, $from ) = $request;
		$append( "$kind\t$what\t$from" );
		$change( $kind, $what, $from );
		$held = 0;
		while ( $held < 6000 && is_file( "$folder/hold" ) ) {
			$hold = explode( "\t", file_get_contents( "$folder/hold" ) );
			if ( array( $kind, $what ) !== array( $hold[0], $hold[1] ?? '' ) || $from < (int) ( $hold[2] ?? 0 ) ) {
				break;
			}
			if ( 0 === $held ) {
				register_shutdown_function( $append, "done\t$what\t$from" );
				$append( "held\t$what\t$from" );
			}
			++$held;
			usleep( 10000 );
			clearstatcache();
		}
	}
} )( LAB_CHANGE );
