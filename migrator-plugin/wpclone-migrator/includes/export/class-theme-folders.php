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
		foreach ( array_keys( self::all() ) as $folder ) {
			if ( self::has_theme( $folder, $theme ) ) {
				return false;
			}
		}
		return true;
	}

	/** Themes in folders that are not exported, because they lie in no root and no link that is followed leads to them. */
	public static function not_exported(): array {
		$themes  = array();
		$entries = self::MAX_ENTRIES;
		foreach ( self::all() as $folder => $paths ) {
			if ( self::is_exported( $paths ) ) {
				continue;
			}
			$handle = @opendir( $folder );
			while ( false !== $handle && $entries > 0 ) {
				$name = readdir( $handle );
				if ( false === $name ) {
					break;
				}
				--$entries;
				if ( '' !== trim( $name, '.' ) && self::has_theme( $folder, $name ) ) {
					$themes[] = $name;
				}
			}
			if ( false !== $handle ) {
				closedir( $handle );
			}
		}
		sort( $themes, SORT_STRING );
		return array_slice( array_values( array_unique( $themes ) ), 0, self::MAX_THEMES );
	}

	/** Whether themes are exported of a folder that these paths lead to. */
	private static function is_exported( array $paths ): bool {
		foreach ( $paths as $path ) {
			if ( Site_Roots::is_exportable_by_links( "$path/theme/style.css" ) ) {
				return true;
			}
		}
		return false;
	}

	private static function has_theme( string $folder, string $theme ): bool {
		return @is_file( "$folder/$theme/style.css" );
	}

	/**
	 * The folders with links resolved => the paths that lead to each: those that are registered, and, since requests are answered
	 * while plugins load, those in which WordPress has found themes before.
	 *
	 * @return array<string, string[]>
	 */
	private static function all(): array {
		$registered = isset( $GLOBALS['wp_theme_directories'] ) ? (array) $GLOBALS['wp_theme_directories'] : array();
		$found      = array_merge( (array) get_site_transient( 'theme_roots' ), array( get_option( 'template_root' ), get_option( 'stylesheet_root' ) ) );
		$given      = array_filter( array_merge( array( WP_CONTENT_DIR . '/themes', get_theme_root() ), $registered, $found ), 'is_string' );
		$folders    = array();
		foreach ( array_unique( $given ) as $path ) {
			if ( '' === $path || false !== strpos( $path, "\0" ) ) {
				continue;
			}
			// Those in the content folder are stored without it.
			$below = WP_CONTENT_DIR . '/' . ltrim( $path, '/' );
			if ( ! in_array( $path, $registered, true ) && is_string( @realpath( $below ) ) ) {
				$path = $below;
			}
			$real = @realpath( $path );
			if ( ! is_string( $real ) || ! @is_dir( $real ) ) {
				continue;
			}
			if ( ! isset( $folders[ $real ] ) && count( $folders ) < self::MAX_FOLDERS ) {
				$folders[ $real ] = array( $real );
			}
			if ( isset( $folders[ $real ] ) ) {
				$folders[ $real ][] = rtrim( $path, '/' );
			}
		}
		return $folders;
	}
}
