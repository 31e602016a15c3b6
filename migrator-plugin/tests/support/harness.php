<?php
/**
 * Runs and counts tests. A warning, notice or deprecation fails the test it occurs in.
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

/** @var int The number of failed tests; determines the exit code. */
$failed = 0;

/** Runs one test; its name is a sentence. */
function test( string $sentence, callable $body ): void {
	global $failed, $wpdb;
	// Unit tests only.
	if ( class_exists( 'Wpdb_Stub', false ) ) {
		$wpdb = new Wpdb_Stub();
		Wordpress_Stub::reset();
	}
	try {
		$body();
		echo "ok $sentence\n";
	} catch ( Throwable $e ) {
		++$failed;
		echo "FAILED $sentence: ", get_class( $e ), ' ', $e->getMessage(), ' at ', basename( $e->getFile() ), ':', $e->getLine(), "\n";
	}
}

/** Fails the test if the condition is false. */
function check( bool $so, string $what ): void {
	if ( ! $so ) {
		throw new RuntimeException( "not so: $what" );
	}
}

/** Fails the test if the values are not identical; reports both. */
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
