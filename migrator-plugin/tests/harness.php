<?php
/**
 * Runs tests and counts them. A warning, notice or deprecation anywhere fails the test in which it comes.
 */

error_reporting( E_ALL );
ini_set( 'display_errors', 'stderr' );
set_error_handler(
	static function ( $severity, $message, $file, $line ) {
		if ( 0 === ( error_reporting() & $severity ) ) {
			return false; // Behind an @.
		}
		throw new ErrorException( $message, 0, $severity, $file, $line );
	}
);

/** @var int Failed tests of this run; the exit code tells. */
$failed = 0;

/** Runs one test; what it is called is a sentence. */
function test( string $sentence, callable $body ): void {
	global $failed, $wpdb;
	// Not where there is a real WordPress.
	if ( class_exists( 'Wpdb_Stand_In', false ) ) {
		$wpdb = new Wpdb_Stand_In();
		Wordpress_Stand_In::reset();
	}
	try {
		$body();
		echo "ok $sentence\n";
	} catch ( Throwable $e ) {
		++$failed;
		echo "FAILED $sentence: ", get_class( $e ), ' ', $e->getMessage(), ' at ', basename( $e->getFile() ), ':', $e->getLine(), "\n";
	}
}

/** Fails the test unless it is so. */
function check( bool $so, string $what ): void {
	if ( ! $so ) {
		throw new RuntimeException( "not so: $what" );
	}
}

/** Fails the test unless both are the same; tells both. */
function same( $expected, $actual, string $what ): void {
	check( $expected === $actual, $what . ': expected ' . var_export( $expected, true ) . ', got ' . var_export( $actual, true ) );
}

register_shutdown_function(
	static function () {
		global $failed;
		if ( $failed > 0 ) {
			exit( 1 );
		}
	}
);
