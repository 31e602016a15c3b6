<?php
/**
 * What stays whatever comes: our options, and that this plugin is active.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Preserve {
	/** Rows of ours in an options table; their name is compared as bytes. */
	const PLUGIN_OPTIONS = "option_name LIKE 'wpclone\\_migrator%'";

	/** Puts our options from one options table into another one, in the place of those that it has. */
	public static function copy_options( Database $db, string $from, string $to ): void {
		$db->execute( 'DELETE FROM ' . Database::identifier( $to ) . ' WHERE ' . self::PLUGIN_OPTIONS );
		self::copy_missing_options( $db, $from, $to );
	}

	/** Adds those that are missing: a nonce that was remembered at this very moment. */
	public static function copy_missing_options( Database $db, string $from, string $to ): void {
		$db->execute( 'INSERT IGNORE INTO ' . Database::identifier( $to ) . ' (option_name, option_value, autoload) SELECT option_name, option_value, autoload FROM ' . Database::identifier( $from ) . ' WHERE ' . self::PLUGIN_OPTIONS );
	}

	/** Makes this plugin one of the active ones of an options table. */
	public static function activate_plugin( Database $db, string $table ): void {
		$ours  = plugin_basename( PLUGIN_FILE );
		$value = $db->fetch_value( 'SELECT option_value FROM ' . Database::identifier( $table ) . " WHERE option_name = 'active_plugins'" );
		$new   = self::with_plugin( (string) $value, $ours );
		if ( null === $value ) {
			$db->execute( 'INSERT INTO ' . Database::identifier( $table ) . " (option_name, option_value, autoload) VALUES ('active_plugins', " . $db->quote( $new ) . ", 'yes')" );
		} elseif ( $new !== $value ) {
			$db->execute( 'UPDATE ' . Database::identifier( $table ) . ' SET option_value = ' . $db->quote( $new ) . " WHERE option_name = 'active_plugins'" );
		}
	}

	/** A serialised list of plugins with one more. A value that is no such list counts as an empty one. */
	public static function with_plugin( string $list, string $plugin ): string {
		$plugins = self::plugins_in( $list );
		if ( ! in_array( $plugin, $plugins, true ) ) {
			$plugins[] = $plugin;
		} elseif ( null !== self::first_element_offset( $list ) ) {
			return $list;
		}
		return serialize( array_values( $plugins ) );
	}

	/** @return string[] The texts of a serialised array of texts, read without unserialising. */
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

	/** Where the first member of a serialised array begins. */
	private static function first_element_offset( string $list ): ?int {
		return 1 === preg_match( '/\Aa:\d{1,5}:\{/', $list, $found ) ? strlen( $found[0] ) : null;
	}
}
