<?php
/**
 * The route `remove`: the plugin deletes itself and everything it created.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Plugin_Removal {
	/**
	 * `job` names the client's own import job, which is ended; with another one nothing is done.
	 * Returns `done`; when done also `remaining` (what could not be deleted) and `probe_url` (an address of the plugin, to
	 * check from outside that nothing is served any more).
	 */
	public static function run( Json_Object $body ): array {
		$probe_url = plugins_url( 'license.txt', PLUGIN_FILE );
		try {
			$job = $body->has( 'job' ) ? $body->get_string( 'job', Import_Job::NAME_PATTERN ) : null;
			if ( ! Import_Cleanup::clean_up_own( $job, new Request_Budget( $body ) ) ) {
				return array( 'done' => false );
			}
		} catch ( Migrator_Error $error ) {
			// Without a usable database there never was an import job.
			if ( 'database_unavailable' !== $error->error_code ) {
				throw $error;
			}
		}
		self::deactivate();
		$remaining = self::delete_files() ? array() : array( 'files' );
		// WordPress' list of available updates names every plugin.
		delete_site_transient( 'update_plugins' );
		if ( ! State_Store::delete_all() ) {
			$remaining[] = 'table';
		}
		return array(
			'done'      => true,
			'remaining' => $remaining,
			'probe_url' => $probe_url,
		);
	}

	private static function deactivate(): void {
		$plugin = plugin_basename( PLUGIN_FILE );
		if ( is_multisite() ) {
			$network = (array) get_site_option( 'active_sitewide_plugins', array() );
			if ( isset( $network[ $plugin ] ) ) {
				unset( $network[ $plugin ] );
				update_site_option( 'active_sitewide_plugins', $network );
			}
		}
		$active = (array) get_option( 'active_plugins', array() );
		if ( in_array( $plugin, $active, true ) ) {
			update_option( 'active_plugins', array_values( array_diff( $active, array( $plugin ) ) ) );
		}
	}

	/** Deletes the plugin's folder. Links are deleted, not followed. */
	private static function delete_files(): bool {
		$folder = dirname( PLUGIN_FILE );
		if ( is_link( $folder ) ) {
			return @unlink( $folder );
		}
		// The main file may have been put directly into the plugins folder, which must not be deleted.
		if ( realpath( $folder ) === realpath( WP_PLUGIN_DIR ) || 'wpclone-migrator' !== basename( $folder ) ) {
			return @unlink( PLUGIN_FILE );
		}
		return self::delete_folder( $folder );
	}

	private static function delete_folder( string $folder ): bool {
		foreach ( (array) @scandir( $folder ) as $name ) {
			if ( ! is_string( $name ) || '.' === $name || '..' === $name ) {
				continue;
			}
			$path = "$folder/$name";
			if ( is_dir( $path ) && ! is_link( $path ) ) {
				self::delete_folder( $path );
			} else {
				@unlink( $path );
			}
		}
		return @rmdir( $folder );
	}
}
