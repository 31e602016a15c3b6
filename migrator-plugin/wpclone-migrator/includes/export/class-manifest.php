<?php
/**
 * The route `manifest`: facts about the site.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Manifest {
	/** Files in the content folder that WordPress loads by their names (wp-admin/includes/plugin.php, _get_dropins()). */
	private const DROP_INS = array( 'object-cache.php', 'advanced-cache.php', 'db.php', 'db-error.php', 'fatal-error-handler.php', 'install.php', 'maintenance.php', 'php-error.php', 'sunrise.php' );

	/** Post types without pages of their own. */
	private const TYPES_WITHOUT_PAGES = array( 'attachment', 'custom_css', 'customize_changeset', 'nav_menu_item', 'oembed_cache', 'product_variation', 'revision', 'user_request', 'wp_block', 'wp_font_face', 'wp_font_family', 'wp_global_styles', 'wp_navigation', 'wp_template', 'wp_template_part' );

	/** Options with the ids of a shop's pages (WooCommerce). */
	private const SHOP_PAGES = array( 'woocommerce_shop_page_id', 'woocommerce_cart_page_id', 'woocommerce_checkout_page_id', 'woocommerce_myaccount_page_id' );

	/** The most tables without the site's prefix that are named. */
	private const MAX_UNPREFIXED_TABLES = 2000;

	/** The most post types of which a page is named. */
	private const MAX_SAMPLE_TYPES = 8;

	/** How many of the oldest and of the newest attachments are looked for. */
	private const MAX_ATTACHMENTS = 100;

	/** The fields of the response. */
	public static function build(): array {
		$db         = Database::shared();
		$uploads    = wp_upload_dir( null, false );
		$unprefixed = array_map( 'strval', array_keys( Site_Tables::unprefixed_tables( $db ) ) );
		return array(
			'plugin_version' => plugin_version(),
			'wordpress'      => self::wordpress(),
			'php'            => array(
				'version'    => PHP_VERSION,
				'sapi'       => PHP_SAPI,
				'os'         => PHP_OS_FAMILY,
				'int_bytes'  => PHP_INT_SIZE,
				'extensions' => get_loaded_extensions(),
			),
			'database'       => self::database( $db ),
			'roots'          => self::roots(),
			'other_prefixes' => Site_Tables::other_prefixes( $db ),
			'unprefixed_tables' => array_slice( $unprefixed, 0, self::MAX_UNPREFIXED_TABLES ),
			'unprefixed_count'  => count( $unprefixed ),
			'limits'         => array(
				'memory_bytes'    => self::bytes( (string) ini_get( 'memory_limit' ) ),
				'max_execution_s' => (int) ini_get( 'max_execution_time' ),
				'max_input_vars'  => (int) ini_get( 'max_input_vars' ),
				'post_max_bytes'  => self::bytes( (string) ini_get( 'post_max_size' ) ),
				'budget_ms'       => Request_Budget::max_ms(),
				'parallel'        => Database::MAX_PARALLEL_REQUESTS,
			),
			'content_url'    => content_url(),
			'plugins_url'    => plugins_url(),
			'mu_plugins_url' => WPMU_PLUGIN_URL,
			'uploads_url'    => (string) $uploads['baseurl'],
			'abspath'        => ABSPATH,
			'content_dir'    => WP_CONTENT_DIR,
			'uploads'        => array(
				'dir'           => (string) $uploads['basedir'],
				'has_usual_dir' => self::has_usual_uploads(),
				'path_option'   => (string) get_option( 'upload_path' ),
				'url_option'    => (string) get_option( 'upload_url_path' ),
				'missing'       => self::missing_attachments( $db, (string) $uploads['basedir'] ),
			),
			'sample_posts'   => self::sample_posts( $db ),
		);
	}

	/** Whether there are files where uploads usually are, and now are not. */
	private static function has_usual_uploads(): bool {
		$usual = realpath( WP_CONTENT_DIR . '/uploads' );
		return is_string( $usual ) && is_dir( $usual ) && Site_Roots::folders()['uploads'] !== $usual;
	}

	/** Files of the oldest and newest attachments that do not exist: paths below the uploads, or the names of others. */
	private static function missing_attachments( Database $db, string $uploads ): array {
		global $wpdb;
		$missing = array();
		foreach ( array( 'ASC', 'DESC' ) as $order ) {
			$sql = "SELECT meta_value FROM {$wpdb->postmeta} WHERE meta_key = '_wp_attached_file' ORDER BY post_id $order LIMIT " . self::MAX_ATTACHMENTS;
			foreach ( $db->fetch_all( $sql ) as $row ) {
				$file = (string) $row[0];
				$full = path_is_absolute( $file ) ? $file : "$uploads/$file";
				if ( '' !== $file && strlen( $file ) <= Site_Roots::MAX_PATH_BYTES && false === strpos( $file, "\0" ) && ! @is_file( $full ) ) {
					$missing[] = $full === $file ? wp_basename( $file ) : $file;
				}
			}
		}
		return array_values( array_unique( $missing ) );
	}

	/** Ids of posts whose pages show what the site looks like: the newest of each type, and a shop's pages. */
	private static function sample_posts( Database $db ): array {
		global $wpdb;
		$without = "'" . implode( "', '", self::TYPES_WITHOUT_PAGES ) . "'";
		$sql     = "SELECT MAX(ID) FROM {$wpdb->posts} WHERE post_status = 'publish' AND post_type NOT IN ($without)
			GROUP BY post_type ORDER BY post_type IN ('post', 'page', 'product') DESC, post_type LIMIT " . self::MAX_SAMPLE_TYPES;
		$ids     = array_column( $db->fetch_all( $sql ), 0 );
		foreach ( self::SHOP_PAGES as $option ) {
			$ids[] = get_option( $option );
		}
		return array_values( array_unique( array_filter( array_map( 'intval', $ids ) ) ) );
	}

	private static function wordpress(): array {
		global $wp_version, $required_php_version, $wpdb;
		list( $constants, $omitted_constants ) = Config_Constants::found();

		$plugins = array();
		foreach ( (array) get_option( 'active_plugins' ) as $file ) {
			if ( is_string( $file ) && null !== Site_Roots::path_segments( $file ) && is_file( WP_PLUGIN_DIR . '/' . $file ) ) {
				$plugins[] = array(
					'file'    => $file,
					'version' => get_file_data( WP_PLUGIN_DIR . '/' . $file, array( 'version' => 'Version' ) )['version'],
				);
			}
		}
		return array(
			'version'           => (string) $wp_version,
			'requires_php'      => (string) $required_php_version,
			'locale'            => (string) get_locale(),
			'multisite'         => is_multisite(),
			'site_url'          => (string) get_option( 'siteurl' ),
			'home_url'          => (string) get_option( 'home' ),
			'prefix'            => (string) $wpdb->base_prefix,
			// Constants of wp-config.php may rename them.
			'user_tables'       => array(
				'users'    => (string) $wpdb->users,
				'usermeta' => (string) $wpdb->usermeta,
			),
			'charset'           => defined( 'DB_CHARSET' ) ? (string) DB_CHARSET : '',
			'collation'         => defined( 'DB_COLLATE' ) ? (string) DB_COLLATE : '',
			// WordPress' own connection: what bytes of the database mean.
			'connection'        => (string) $wpdb->get_var( 'SELECT @@character_set_client' ),
			'constants'         => (object) $constants,
			'omitted_constants' => (object) $omitted_constants,
			'plugins'           => $plugins,
			'must_use_plugins'  => array_map( 'wp_basename', wp_get_mu_plugins() ),
			'template'          => (string) get_option( 'template' ),
			'stylesheet'        => (string) get_option( 'stylesheet' ),
			'missing_themes'    => array_values( array_filter( array_unique( array( (string) get_option( 'template' ), (string) get_option( 'stylesheet' ) ) ), array( Theme_Folders::class, 'lack' ) ) ),
			'omitted_themes'    => Theme_Folders::not_exported(),
			'drop_ins'          => array_values( array_filter( self::DROP_INS, array( self::class, 'has_drop_in' ) ) ),
			'environment'       => function_exists( 'wp_get_environment_type' ) ? wp_get_environment_type() : 'production',
		);
	}

	/** Whether the content folder has this drop-in. */
	public static function has_drop_in( string $name ): bool {
		return is_file( WP_CONTENT_DIR . '/' . $name );
	}

	private static function database( Database $db ): array {
		$row = $db->fetch_all( 'SELECT @@version, DATABASE(), @@character_set_database, @@collation_database, @@max_allowed_packet, @@lower_case_table_names, @@global.sql_mode' )[0];
		return array(
			'server'                 => $db->is_mariadb() ? 'mariadb' : 'mysql',
			'version'                => (string) $row[0],
			'name'                   => (string) $row[1],
			'charset'                => (string) $row[2],
			'collation'              => (string) $row[3],
			'max_allowed_packet'     => (int) $row[4],
			'lower_case_table_names' => (int) $row[5],
			'sql_mode'               => (string) $row[6],
			'collations'             => $db->collations(),
		);
	}

	private static function roots(): array {
		$found = array();
		foreach ( Site_Roots::folders() as $name => $folder ) {
			$free           = null !== $folder && function_exists( 'disk_free_space' ) ? @disk_free_space( $folder ) : false;
			$found[ $name ] = array(
				'path'       => $folder,
				'writable'   => null !== $folder && wp_is_writable( $folder ),
				'free_bytes' => is_float( $free ) ? (int) $free : null,
			);
		}
		return $found;
	}

	/** A size in php.ini's notation; null for no limit. */
	private static function bytes( string $size ): ?int {
		$bytes = (int) $size;
		foreach ( array( 'k', 'm', 'g' ) as $power => $unit ) {
			if ( strtolower( substr( $size, -1 ) ) === $unit ) {
				$bytes *= 1024 ** ( $power + 1 );
			}
		}
		return $bytes > 0 ? $bytes : null;
	}
}
