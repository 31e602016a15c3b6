<?php
/**
 * The folders that WordPress looks for themes in: plugins may register others than that of the content.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Theme_Folders {
	/** The most folders that are read, and entries of all together. */
	private const MAX_FOLDERS = 20;
	private const MAX_ENTRIES = 2000;

	/** The most themes that are named. */
	private const MAX_THEMES = 100;

	/** Whether no folder has this theme. */
	public static function lack( string $theme ): bool {
		foreach ( self::all() as $folder ) {
			if ( self::has_theme( $folder, $theme ) ) {
				return false;
			}
		}
		return true;
	}

	/** Themes in folders that are not exported, because they lie in no root. */
	public static function not_exported(): array {
		$themes  = array();
		$entries = self::MAX_ENTRIES;
		foreach ( self::all() as $folder ) {
			if ( Site_Roots::is_exportable( "$folder/theme/style.css" ) ) {
				continue;
			}
			$names   = array_slice( (array) @scandir( $folder ), 0, $entries );
			$entries -= count( $names );
			foreach ( $names as $name ) {
				if ( is_string( $name ) && '' !== trim( $name, '.' ) && self::has_theme( $folder, $name ) ) {
					$themes[] = $name;
				}
			}
		}
		return array_slice( array_values( array_unique( $themes ) ), 0, self::MAX_THEMES );
	}

	private static function has_theme( string $folder, string $theme ): bool {
		return @is_file( "$folder/$theme/style.css" );
	}

	/**
	 * The folders with links resolved: those that are registered, and, since requests are answered while plugins load, those in
	 * which WordPress has found themes before.
	 *
	 * @return string[]
	 */
	private static function all(): array {
		$registered = isset( $GLOBALS['wp_theme_directories'] ) ? (array) $GLOBALS['wp_theme_directories'] : array();
		$found      = array_merge( (array) get_site_transient( 'theme_roots' ), array( get_option( 'template_root' ), get_option( 'stylesheet_root' ) ) );
		$folders    = array();
		foreach ( array_merge( array( WP_CONTENT_DIR . '/themes', get_theme_root() ), $registered, $found ) as $folder ) {
			if ( ! is_string( $folder ) || '' === $folder || false !== strpos( $folder, "\0" ) ) {
				continue;
			}
			// Those in the content folder are stored without it.
			$below = @realpath( WP_CONTENT_DIR . '/' . $folder );
			$real  = is_string( $below ) && ! in_array( $folder, $registered, true ) ? $below : @realpath( $folder );
			if ( is_string( $real ) && @is_dir( $real ) ) {
				$folders[] = $real;
			}
		}
		return array_slice( array_values( array_unique( $folders ) ), 0, self::MAX_FOLDERS );
	}
}
