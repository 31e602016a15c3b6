<?php
/**
 * The suites themselves: one that cannot start its site fails.
 */

require __DIR__ . '/../support/harness.php';

/** Runs a test file with another environment; returns its exit code and its output. */
function run_suite( string $file, array $environment ): array {
	$process = proc_open( array( PHP_BINARY, $file ), array( array( 'file', '/dev/null', 'r' ), array( 'pipe', 'w' ) ), $pipes, null, $environment + getenv() );
	$output  = (string) stream_get_contents( $pipes[1] );
	return array( proc_close( $process ), $output );
}

test(
	'without WordPress or its database every suite fails, and none says that it was skipped',
	static function () {
		$cache = sys_get_temp_dir() . '/wpclone-plugin-test-' . bin2hex( random_bytes( 6 ) );
		mkdir( $cache );
		$wordpress = ( getenv( 'WPCLONE_CACHE' ) ?: ( getenv( 'XDG_CACHE_HOME' ) ?: getenv( 'HOME' ) . '/.cache' ) . '/wpclone' ) . '/wordpress';
		check( is_dir( $wordpress ) && symlink( $wordpress, "$cache/wordpress" ), 'a cache with nothing but WordPress' );
		try {
			$files = glob( __DIR__ . '/../wordpress/test-*.php' );
			check( count( $files ) > 4, 'suites' );
			foreach ( $files as $file ) {
				$missing = array(
					'WordPress' => array( 'WPCLONE_CACHE' => '/nonexistent', 'WPCLONE_TEST_DATABASE' => 'mariadb' ),
					'mysqld'    => array( 'WPCLONE_CACHE' => $cache, 'WPCLONE_TEST_DATABASE' => 'mysql' ),
				);
				foreach ( $missing as $what => $environment ) {
					list( $code, $output ) = run_suite( $file, $environment );
					$named                 = basename( $file ) . " without $what: $output";
					same( 1, $code, $named );
					check( 1 === preg_match( "/\\AFAILED .*$what/", $output ) && false === strpos( $output, 'SKIPPED' ), $named );
				}
			}
		} finally {
			unlink( "$cache/wordpress" );
			rmdir( $cache );
		}
	}
);
