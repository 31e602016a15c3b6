<?php
/**
 * The data folder of a database with an installed WordPress. It is made once for each version of the server, of WordPress
 * and of these files, and kept in the cache; every test file starts its server with a copy.
 */

final class Site_Template {
	/** The data folder for this WordPress; null if the server is external. */
	public static function data( string $wordpress ): ?string {
		if ( Database_Server::is_external() ) {
			return null;
		}
		$cache = Database_Server::cache() . '/plugin-tests';
		is_dir( $cache ) || @mkdir( $cache, 0700, true );
		$kind = Database_Server::is_mysql() ? 'mysql' : 'mariadb';
		$lock = fopen( "$cache/$kind.lock", 'c' );
		flock( $lock, LOCK_EX );
		$data = "$cache/$kind-" . self::fingerprint( $wordpress );
		if ( ! is_dir( $data ) ) {
			self::remove_unused( $cache, $kind );
			self::build( $wordpress, $data );
		}
		touch( $data );
		fclose( $lock );
		return $data;
	}

	/** Removes templates that no test has used for a day; the tests of another checkout may be copying a younger one. */
	private static function remove_unused( string $cache, string $kind ): void {
		foreach ( glob( "$cache/$kind-*", GLOB_ONLYDIR ) as $template ) {
			if ( '.new' === substr( $template, -4 ) || filemtime( $template ) < time() - 86400 ) {
				exec( 'rm -rf ' . escapeshellarg( $template ) );
			}
		}
	}

	private static function fingerprint( string $wordpress ): string {
		$parts = array( Database_Server::version() );
		foreach ( array( "$wordpress/wp-includes/version.php", __DIR__ . '/database-server.php', __DIR__ . '/test-site.php', __DIR__ . '/install.php', __FILE__ ) as $file ) {
			$parts[] = hash_file( 'sha256', $file );
		}
		return substr( hash( 'sha256', implode( "\n", $parts ) . posix_geteuid() ), 0, 16 );
	}

	/** Installs WordPress on a new server; renamed at the end, so that the template is complete or does not exist. */
	private static function build( string $wordpress, string $data ): void {
		$server = Database_Server::start();
		Test_Site::install( $server, Test_Site::copy_files( $server, $wordpress ) );
		$server->run( array( 'cp', '-a', $server->shut_down(), "$data.new" ) );
		rename( "$data.new", $data );
	}
}
