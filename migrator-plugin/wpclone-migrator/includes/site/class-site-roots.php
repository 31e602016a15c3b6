<?php
/**
 * The root folders of a site's files, and the rules which files are exported.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Site_Roots {
	/** Names of the roots. File ids hold the position in this list. Part of the protocol. */
	const NAMES = array( 'core', 'content', 'plugins', 'mu-plugins', 'uploads' );

	/** Limits of a path below its root: length, and number of names. */
	const MAX_PATH_BYTES = 700;
	const MAX_DEPTH      = 40;

	/** Folders directly below `content` and `uploads` that are excluded: name => reason. */
	const EXCLUDED_FOLDERS = array(
		'cache'               => 'c',
		'et-cache'            => 'c',
		'litespeed'           => 'c',
		'upgrade'             => 'c',
		'upgrade-temp-backup' => 'c',
		'ai1wm-backups'       => 'b',
		'updraft'             => 'b',
		'backup'              => 'b',
		'backups'             => 'b',
		'backups-dup-lite'    => 'b',
		'backups-dup-pro'     => 'b',
		'backup-db'           => 'b',
		'backupbuddy_backups' => 'b',
		'wp-migrate-db'       => 'b',
		'wpvividbackups'      => 'b',
		'wpvivid_staging'     => 'b',
		'wc-logs'             => 'l',
		'wflogs'              => 'l',
	);

	/** The must-use plugin that sandboxes a copy. */
	const SANDBOX_PLUGIN = 'wpclone-sandbox.php';

	/**
	 * Root => its folder with links resolved, or null if there is none.
	 *
	 * @return array<string, string|null>
	 */
	public static function folders(): array {
		static $roots = null;
		if ( null === $roots ) {
			$uploads = wp_upload_dir( null, false );
			$roots   = array();
			foreach ( array_combine( self::NAMES, array( ABSPATH, WP_CONTENT_DIR, WP_PLUGIN_DIR, WPMU_PLUGIN_DIR, $uploads['basedir'] ) ) as $name => $path ) {
				$real           = realpath( $path );
				$roots[ $name ] = is_string( $real ) && is_dir( $real ) ? $real : null;
			}
		}
		return $roots;
	}

	/** The folder of a root; bad_request for anything else. */
	public static function folder( string $root ): string {
		$folder = self::folders()[ $root ] ?? null;
		if ( null === $folder ) {
			throw Migrator_Error::bad_request( 'root' );
		}
		return $folder;
	}

	/** The names of a path below a root; null if the path is not acceptable. */
	public static function path_segments( string $path ): ?array {
		$names = explode( '/', $path );
		if ( strlen( $path ) > self::MAX_PATH_BYTES || count( $names ) > self::MAX_DEPTH ) {
			return null;
		}
		foreach ( $names as $name ) {
			if ( '' === $name || '.' === $name || '..' === $name || strlen( $name ) > 255 || false !== strpos( $name, "\0" ) ) {
				return null;
			}
		}
		return $names;
	}

	/** Why a file or folder is excluded, or null. Checks only the last name, not those of its parents. */
	public static function exclusion_reason( string $root, array $names, bool $is_folder ): ?string {
		$name = strtolower( (string) end( $names ) );
		$top  = 1 === count( $names );
		if ( in_array( $name, array( '.git', '.svn', '.hg', '.bzr' ), true ) ) {
			return 'v';
		}
		if ( $top && self::is_plugin_owned( $root, $name ) ) {
			return 'o';
		}
		return $is_folder ? self::exclusion_reason_of_folder( $root, $name, $top ) : self::exclusion_reason_of_file( $root, $name, $top );
	}

	/** The plugin itself, the plugins put on clones and targets, and staging folders. */
	private static function is_plugin_owned( string $root, string $name ): bool {
		return ( 'plugins' === $root && 'wpclone-migrator' === $name )
			|| ( 'mu-plugins' === $root && Site_Tables::starts_with( $name, 'wpclone-' ) )
			|| 1 === preg_match( '/\Awpclone-[0-9a-f]{32}\z/', $name );
	}

	/** Whether a path is the must-use plugin that sandboxes a copy. */
	public static function is_sandbox_plugin( string $root, string $path ): bool {
		return 'mu-plugins' === $root && self::SANDBOX_PLUGIN === $path;
	}

	private static function exclusion_reason_of_folder( string $root, string $name, bool $top ): ?string {
		if ( 'core' === $root && $top ) {
			return 'wp-admin' === $name || 'wp-includes' === $name ? null : 'f';
		}
		if ( $top && ( 'content' === $root || 'uploads' === $root ) ) {
			return Site_Tables::starts_with( $name, 'backwpup' ) ? 'b' : ( self::EXCLUDED_FOLDERS[ $name ] ?? null );
		}
		return null;
	}

	private static function exclusion_reason_of_file( string $root, string $name, bool $top ): ?string {
		$is_core_top = 'core' === $root && $top;
		if ( 'wp-config.php' === $name || '.user.ini' === $name || '.env' === $name || '.htpasswd' === $name ) {
			return 's';
		}
		if ( $is_core_top && ( in_array( $name, array( '.htaccess', 'php.ini', 'web.config', 'nginx.conf' ), true ) || ( Site_Tables::starts_with( $name, 'wp-config' ) && 'wp-config-sample.php' !== $name ) ) ) {
			return 's';
		}
		if ( $top && 'content' === $root && in_array( $name, array( 'object-cache.php', 'advanced-cache.php', 'db.php' ), true ) ) {
			return 'i';
		}
		if ( 'error_log' === $name || 'php_errorlog' === $name || 1 === preg_match( '/\.log(?:\.\d+)?(?:\.gz)?\z/', $name ) ) {
			return 'l';
		}
		$is_dump = '/\.(?:sql|sql\.gz|sql\.zip|wpress|jpa)\z/';
		if ( ( $is_core_top && 1 === preg_match( '/\.(?:zip|tar|t?gz|bz2|xz|rar|7z|bak|old)\z/', $name ) ) || ( in_array( $root, array( 'core', 'content', 'uploads' ), true ) && 1 === preg_match( $is_dump, $name ) ) ) {
			return 'b';
		}
		return null;
	}

	/** Whether a real path is the folder of another root. */
	public static function is_other_root( string $real, string $root ): bool {
		foreach ( self::folders() as $name => $folder ) {
			if ( $name !== $root && $folder === $real && self::folders()[ $root ] !== $real ) {
				return true;
			}
		}
		return false;
	}

	/** Whether a real path lies within a root and is not excluded. */
	public static function is_exportable( string $real ): bool {
		$best = null;
		foreach ( self::folders() as $root => $folder ) {
			if ( null !== $folder && Site_Tables::starts_with( $real, $folder . '/' ) && ( null === $best || strlen( $folder ) >= strlen( self::folders()[ $best ] ) ) ) {
				$best = $root;
			}
		}
		if ( null === $best ) {
			return false;
		}
		$names = self::path_segments( substr( $real, strlen( self::folders()[ $best ] ) + 1 ) );
		return null !== $names && self::is_exportable_path( $best, $names, false );
	}

	/** Whether no name of a path is excluded. */
	public static function is_exportable_path( string $root, array $names, bool $is_folder ): bool {
		$count = count( $names );
		for ( $i = 1; $i <= $count; $i++ ) {
			if ( null !== self::exclusion_reason( $root, array_slice( $names, 0, $i ), $i < $count || $is_folder ) ) {
				return false;
			}
		}
		return true;
	}
}
