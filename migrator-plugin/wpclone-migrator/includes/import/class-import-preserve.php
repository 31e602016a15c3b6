<?php
/**
 * Preserves the plugin's own options and its activation across an import.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Preserve {
	/** The plugin's rows in an options table; names are compared as bytes. */
	const PLUGIN_OPTIONS = "option_name LIKE 'wpclone\\_migrator%'";

	/** Replaces the plugin's options in one options table by those of another one. */
	public static function copy_options( Database $db, string $from, string $to ): void {
		$db->execute( 'DELETE FROM ' . Database::identifier( $to ) . ' WHERE ' . self::PLUGIN_OPTIONS );
		self::copy_missing_options( $db, $from, $to );
	}

	/** Adds options that are missing: nonces that were remembered in the meantime. */
	public static function copy_missing_options( Database $db, string $from, string $to ): void {
		$db->execute( 'INSERT IGNORE INTO ' . Database::identifier( $to ) . ' (option_name, option_value, autoload) SELECT option_name, option_value, autoload FROM ' . Database::identifier( $from ) . ' WHERE ' . self::PLUGIN_OPTIONS );
	}

	/** Activates this plugin in an options table. */
	public static function activate_plugin( Database $db, string $table ): void {
		$plugin = plugin_basename( PLUGIN_FILE );
		$value  = $db->fetch_value( 'SELECT option_value FROM ' . Database::identifier( $table ) . " WHERE option_name = 'active_plugins'" );
		$new    = self::with_plugin( (string) $value, $plugin );
		if ( null === $value ) {
			$db->execute( 'INSERT INTO ' . Database::identifier( $table ) . " (option_name, option_value, autoload) VALUES ('active_plugins', " . $db->quote( $new ) . ", 'yes')" );
		} elseif ( $new !== $value ) {
			$db->execute( 'UPDATE ' . Database::identifier( $table ) . ' SET option_value = ' . $db->quote( $new ) . " WHERE option_name = 'active_plugins'" );
		}
	}

	/** A serialized list of plugins with one added. A value that is not such a list counts as an empty one. */
	public static function with_plugin( string $list, string $plugin ): string {
		$plugins = self::plugins_in( $list );
		if ( ! in_array( $plugin, $plugins, true ) ) {
			$plugins[] = $plugin;
		} elseif ( null !== self::first_element_offset( $list ) ) {
			return $list;
		}
		return serialize( array_values( $plugins ) );
	}

	/** The strings of a serialized array of strings, parsed without unserialize(). */
	private static function plugins_in( string $list ): array {
		$at      = self::first_element_offset( $list );
		$plugins = array();
		$size    = strlen( $list );
		while ( null !== $at && $at < $size && 1 === preg_match( '/\Gi:\d{1,9};s:(\d{1,5}):"/', $list, $found, 0, $at ) ) {
			$from      = $at + strlen( $found[0] );
			$plugins[] = substr( $list, $from, (int) $found[1] );
			$at        = $from + (int) $found[1] + 2;
		}
		return $plugins;
	}

	/** The offset of the first element of a serialized array. */
	private static function first_element_offset( string $list ): ?int {
		return 1 === preg_match( '/\Aa:\d{1,5}:\{/', $list, $found ) ? strlen( $found[0] ) : null;
	}
}
