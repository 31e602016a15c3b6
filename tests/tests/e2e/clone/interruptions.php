<?php
// A must-use plugin of a source. It notes what the site is asked for, before it answers; holds up what a test wants held
// up; and changes the site in between as others do who work on it. It goes along to the copy, and does nothing there.
( function ( callable $change ) {
	$folder = dirname( ABSPATH );
	if ( ABSPATH !== LAB_TREE || PHP_SAPI === 'cli' ) {
		return;
	}
	$route  = $_GET['wpclone_migrator'] ?? '';
	$asked  = '' === $route ? array() : (array) json_decode( file_get_contents( 'php://input' ), true );
	$script = "{$_SERVER['REQUEST_METHOD']} " . basename( $_SERVER['SCRIPT_NAME'] ) . ' ' . ( $_GET['action'] ?? $_GET['rest_route'] ?? '' );
	// A cursor is the migrator's own business, but for `n`: how many rows came before.
	$places = array( array( '' === $route ? 'page' : $route, $asked['table'] ?? $asked['root'] ?? $script, $asked['cursor']['n'] ?? 0 ) );
	foreach ( $asked['files'] ?? array() as $file ) {
		$path     = substr( base64_decode( strtr( $file['id'], '-_', '+/' ) ), 17 );
		$places[] = array( 'file', $path, $file['offset'] );
	}
	$note = function ( string $line ) use ( $folder ) {
		file_put_contents( "$folder/asked", "$line\n", FILE_APPEND | LOCK_EX );
	};
	foreach ( $places as $place ) {
		list( $kind, $what, $from ) = $place;
		$note( "$kind\t$what\t$from" );
		$change( $kind, $what, $from );
		$held = 0;
		while ( $held < 6000 && is_file( "$folder/hold" ) ) {
			$hold = explode( "\t", file_get_contents( "$folder/hold" ) );
			if ( array( $kind, $what ) !== array( $hold[0], $hold[1] ?? '' ) || $from < (int) ( $hold[2] ?? 0 ) ) {
				break;
			}
			if ( 0 === $held ) {
				register_shutdown_function( $note, "over\t$what\t$from" );
				$note( "held\t$what\t$from" );
			}
			++$held;
			usleep( 10000 );
			clearstatcache();
		}
	}
} )( LAB_CHANGE );
