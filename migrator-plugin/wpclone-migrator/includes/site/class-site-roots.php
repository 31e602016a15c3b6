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

	const VERSION_CONTROL = array( '.git', '.svn', '.hg', '.bzr' );

	/** The most links in a path that are followed. */
	const MAX_LINKS = 4;

	/** Where links do not lead, unless WordPress itself is there. */
	const SYSTEM_FOLDERS = array( '/bin', '/boot', '/dev', '/etc', '/lib', '/lib64', '/proc', '/root', '/run', '/sbin', '/sys', '/usr/bin', '/usr/lib', '/usr/sbin', '/var/cache', '/var/lib/mysql', '/var/log', '/var/run', '/var/spool' );

	/** Names of which no part of a link's target has any. */
	const PRIVATE_NAMES = array( '.aws', '.bzr', '.config', '.env', '.git', '.gnupg', '.hg', '.htpasswd', '.kube', '.ssh', '.svn', '.user.ini' );

	/** Folders directly below `content` that are excluded: WordPress and caches make them again. */
	const CACHE_FOLDERS = array( 'cache', 'et-cache', 'litespeed', 'upgrade', 'upgrade-temp-backup' );

	/** Folders directly below `content` and `uploads` that are excluded: name => reason. */
	const EXCLUDED_FOLDERS = array(
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
			$roots = array();
			foreach ( self::configured_folders() as $name => $path ) {
				$real           = realpath( $path );
				$roots[ $name ] = is_string( $real ) && is_dir( $real ) ? $real : null;
			}
		}
		return $roots;
	}

	/**
	 * Root => its folder as WordPress has it.
	 *
	 * @return array<string, string>
	 */
	public static function configured_folders(): array {
		return array_combine( self::NAMES, array( ABSPATH, WP_CONTENT_DIR, WP_PLUGIN_DIR, WPMU_PLUGIN_DIR, (string) wp_upload_dir( null, false )['basedir'] ) );
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

	/**
	 * Why a file or folder is excluded, or null. Checks only the last name, not those of its parents. A name is a reason only
	 * where the thing lies that has it: a plugin's own code may have any.
	 */
	public static function exclusion_reason( string $root, array $names, bool $is_folder ): ?string {
		$name = strtolower( (string) end( $names ) );
		$top  = 1 === count( $names );
		if ( in_array( $name, self::VERSION_CONTROL, true ) ) {
			return 'v';
		}
		if ( $top && self::is_plugin_owned( $root, $name ) ) {
			return 'o';
		}
		return $is_folder ? self::exclusion_reason_of_folder( $root, $name, $top ) : self::exclusion_reason_of_file( $root, $name, $top, self::is_code( $root, $names ) );
	}

	/** Whether a path lies in a plugin, a theme or WordPress itself. */
	private static function is_code( string $root, array $names ): bool {
		$depth = count( $names );
		return 'content' === $root ? $depth > 2 && 'themes' === $names[0] : $depth > 1 && 'uploads' !== $root;
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
		// Below uploads such a folder has pictures that pages load, and that are made only when somebody edits a page.
		if ( $top && 'content' === $root && in_array( $name, self::CACHE_FOLDERS, true ) ) {
			return 'c';
		}
		if ( $top && ( 'content' === $root || 'uploads' === $root ) ) {
			return Site_Tables::starts_with( $name, 'backwpup' ) ? 'b' : ( self::EXCLUDED_FOLDERS[ $name ] ?? null );
		}
		return null;
	}

	private static function exclusion_reason_of_file( string $root, string $name, bool $top, bool $is_code ): ?string {
		$is_core_top = 'core' === $root && $top;
		if ( in_array( $name, array( '.user.ini', '.htpasswd' ), true ) || ( ! $is_code && in_array( $name, array( 'wp-config.php', '.env' ), true ) ) ) {
			return 's';
		}
		if ( $is_core_top && ( in_array( $name, array( '.htaccess', 'php.ini', 'web.config', 'nginx.conf' ), true ) || ( Site_Tables::starts_with( $name, 'wp-config' ) && 'wp-config-sample.php' !== $name ) ) ) {
			return 's';
		}
		if ( $top && 'content' === $root && in_array( $name, array( 'object-cache.php', 'advanced-cache.php', 'db.php' ), true ) ) {
			return 'i';
		}
		// PHP's log is in the folder of the script, such as wp-admin.
		$is_php_log = 'error_log' === $name || 'php_errorlog' === $name;
		if ( ( $is_php_log && ( $top || 'core' === $root ) ) || ( $top && 1 === preg_match( '/\.log(?:\.\d+)?(?:\.gz)?\z/', $name ) ) ) {
			return 'l';
		}
		$is_dump = '/\.(?:sql|sql\.gz|sql\.zip|wpress|jpa)\z/';
		if ( ( $is_core_top && 1 === preg_match( '/\.(?:zip|tar|t?gz|bz2|xz|rar|7z|bak|old)\z/', $name ) ) || ( $top && in_array( $root, array( 'core', 'content', 'uploads' ), true ) && 1 === preg_match( $is_dump, $name ) ) ) {
			return 'b';
		}
		return null;
	}

	/** Whether a file is the configuration of a WordPress that lies in a folder of this site. */
	public static function is_configuration( string $full ): bool {
		return 'wp-config.php' === strtolower( basename( $full ) ) && is_file( dirname( $full ) . '/wp-load.php' );
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

	/** Whether a path is where WordPress has the folder of a root, which may be a link. */
	public static function is_place_of_root( string $full ): bool {
		return in_array( $full, self::places(), true );
	}

	/**
	 * The paths where WordPress has the folders of the roots, with the links of their parents resolved but not their own.
	 *
	 * @return string[]
	 */
	private static function places(): array {
		$places = array();
		foreach ( self::configured_folders() as $path ) {
			$places[] = realpath( dirname( $path ) ) . '/' . basename( $path );
		}
		return $places;
	}

	/** Whether the folder of a root, or the link to it, lies in this folder, at any depth. */
	public static function contains_root( string $folder ): bool {
		foreach ( array_merge( array_filter( self::folders() ), self::places() ) as $root ) {
			if ( Site_Tables::starts_with( $root, $folder . '/' ) ) {
				return true;
			}
		}
		return false;
	}

	/** Whether nothing is in this folder but folders of roots, and folders that lead to them. */
	public static function contains_only_roots( string $folder ): bool {
		$handle = @opendir( $folder );
		while ( false !== $handle ) {
			$name = readdir( $handle );
			if ( false === $name ) {
				closedir( $handle );
				return true;
			}
			$path = "$folder/$name";
			if ( '.' === $name || '..' === $name || in_array( $path, self::folders(), true ) || self::is_place_of_root( $path ) ) {
				continue;
			}
			if ( ! self::contains_root( $path ) || ! self::contains_only_roots( $path ) ) {
				closedir( $handle );
				return false;
			}
		}
		return false;
	}

	/** Whether a real path lies within a root and is not excluded. */
	public static function is_exportable( string $real ): bool {
		list( $root, $names ) = self::path_below_root( $real, self::folders() );
		return null !== $names && self::is_exportable_path( (string) $root, $names, false );
	}

	/** Whether a path with links in it lies within a root, is not excluded, and all its links are followed. */
	public static function is_exportable_by_links( string $path ): bool {
		foreach ( array( self::configured_folders(), self::folders() ) as $folders ) {
			list( $root, $names ) = self::path_below_root( $path, $folders );
			if ( null !== $names && self::is_exportable_path( (string) $root, $names, false ) && self::follows_links( (string) $root, $names ) ) {
				return true;
			}
		}
		return false;
	}

	/**
	 * The innermost of these folders of roots that a path lies in, and its names below it; null for none.
	 *
	 * @param array<string, string|null> $folders
	 * @return array{0: ?string, 1: ?string[]}
	 */
	private static function path_below_root( string $path, array $folders ): array {
		$best   = null;
		$length = 0;
		foreach ( $folders as $root => $folder ) {
			$folder = rtrim( (string) $folder, '/' );
			if ( '' !== $folder && Site_Tables::starts_with( $path, $folder . '/' ) && strlen( $folder ) >= $length ) {
				$best   = $root;
				$length = strlen( $folder );
			}
		}
		return array( $best, null === $best ? null : self::path_segments( substr( $path, $length + 1 ) ) );
	}

	/** Whether no name of a path is excluded. */
	public static function is_exportable_path( string $root, array $names, bool $is_folder ): bool {
		return null === self::exclusion_reason_of_path( $root, $names, $is_folder );
	}

	private static function exclusion_reason_of_path( string $root, array $names, bool $is_folder ): ?string {
		$count = count( $names );
		for ( $i = 1; $i <= $count; $i++ ) {
			$reason = self::exclusion_reason( $root, array_slice( $names, 0, $i ), $i < $count || $is_folder );
			if ( null !== $reason ) {
				return $reason;
			}
		}
		return null;
	}

	/** Whether all links in a path below a root are followed. */
	public static function follows_links( string $root, array $names ): bool {
		$full = (string) self::folders()[ $root ];
		foreach ( $names as $i => $name ) {
			$full .= "/$name";
			if ( is_link( $full ) && ! self::follows_link( $root, array_slice( $names, 0, $i + 1 ) ) ) {
				return false;
			}
		}
		return true;
	}

	/**
	 * Whether a link below a root is content: its target may be exported. That of a folder contains neither a root nor a parent
	 * of the link, which would have no end.
	 */
	public static function follows_link( string $root, array $names ): bool {
		$path = (string) self::folders()[ $root ];
		$real = realpath( $path . '/' . implode( '/', $names ) );
		if ( ! is_string( $real ) || ! self::is_target_exportable( $real ) ) {
			return false;
		}
		$links = 0;
		foreach ( is_dir( $real ) ? $names : array() as $name ) {
			$links += is_link( $path ) ? 1 : 0;
			if ( Site_Tables::starts_with( realpath( $path ) . '/', "$real/" ) ) {
				return false;
			}
			$path .= "/$name";
		}
		return $links < self::MAX_LINKS;
	}

	/** Whether the target of a link, a real path, may be exported. */
	private static function is_target_exportable( string $real ): bool {
		foreach ( self::folders() as $folder ) {
			if ( null !== $folder && Site_Tables::starts_with( "$folder/", rtrim( $real, '/' ) . '/' ) ) {
				return false;
			}
		}
		if ( array_intersect( explode( '/', strtolower( $real ) ), self::PRIVATE_NAMES ) || self::is_configuration( $real ) ) {
			return false;
		}
		list( $root, $names ) = self::path_below_root( $real, self::folders() );
		if ( null !== $root ) {
			// A folder beside WordPress is no part of it, except for what links lead to.
			return null !== $names && in_array( self::exclusion_reason_of_path( $root, $names, is_dir( $real ) ), array( null, 'f' ), true );
		}
		if ( 'wp-config.php' === strtolower( basename( $real ) ) ) {
			return false;
		}
		foreach ( self::SYSTEM_FOLDERS as $folder ) {
			if ( Site_Tables::starts_with( "$real/", "$folder/" ) && ! Site_Tables::starts_with( (string) self::folders()['core'], "$folder/" ) ) {
				return false;
			}
		}
		return true;
	}
}
