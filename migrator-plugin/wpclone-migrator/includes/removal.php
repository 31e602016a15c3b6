<?php
/**
 * The route `remove`: the plugin takes itself away, and all that it made.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Removal {
	/** The answer's members: whether it is done, what could not be removed, and where it could be seen if it were there. */
	public static function members( Json $body ): array {
		$probe = plugins_url( 'license.txt', PLUGIN_FILE );
		try {
			if ( ! Import_End::wipe( new Budget( $body ) ) ) {
				return array( 'done' => false );
			}
		} catch ( Trouble $trouble ) {
			// Where there is no database of ours there never was a job.
			if ( 'no_database' !== $trouble->name ) {
				throw $trouble;
			}
		}
		self::deactivate();
		$left = self::remove_files() ? array() : array( 'files' );
		// The list of plugins that WordPress looks for updates of has our name in it.
		delete_site_transient( 'update_plugins' );
		Store::erase_everywhere();
		return array(
			'done'  => true,
			'left'  => $left,
			'probe' => $probe,
		);
	}

	private static function deactivate(): void {
		$ours = plugin_basename( PLUGIN_FILE );
		if ( is_multisite() ) {
			$network = (array) get_site_option( 'active_sitewide_plugins', array() );
			if ( isset( $network[ $ours ] ) ) {
				unset( $network[ $ours ] );
				update_site_option( 'active_sitewide_plugins', $network );
			}
		}
		$active = (array) get_option( 'active_plugins', array() );
		if ( in_array( $ours, $active, true ) ) {
			update_option( 'active_plugins', array_values( array_diff( $active, array( $ours ) ) ) );
		}
	}

	/** Removes our folder; links are removed, and not followed. */
	private static function remove_files(): bool {
		$folder = dirname( PLUGIN_FILE );
		if ( is_link( $folder ) ) {
			return @unlink( $folder );
		}
		// Somebody may have put the main file right into the plugins' folder.
		if ( realpath( $folder ) === realpath( WP_PLUGIN_DIR ) || 'wpclone-migrator' !== basename( $folder ) ) {
			return @unlink( PLUGIN_FILE );
		}
		return self::remove_folder( $folder );
	}

	private static function remove_folder( string $folder ): bool {
		foreach ( (array) @scandir( $folder ) as $name ) {
			if ( ! is_string( $name ) || '.' === $name || '..' === $name ) {
				continue;
			}
			$path = "$folder/$name";
			if ( is_dir( $path ) && ! is_link( $path ) ) {
				self::remove_folder( $path );
			} else {
				@unlink( $path );
			}
		}
		return @rmdir( $folder );
	}
}
