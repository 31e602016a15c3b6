<?php
/**
 * What stays whatever comes: our options, and that this plugin is active.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Kept {
	/** Rows of ours in an options table; their name is compared as bytes. */
	const OURS = "option_name LIKE 'wpclone\\_migrator%'";

	/** Puts our options from one options table into another one, in the place of those that it has. */
	public static function options( Db $db, string $from, string $to ): void {
		$db->run( 'DELETE FROM ' . Db::name( $to ) . ' WHERE ' . self::OURS );
		self::more_options( $db, $from, $to );
	}

	/** Adds those that are missing: a nonce that was remembered at this very moment. */
	public static function more_options( Db $db, string $from, string $to ): void {
		$db->run( 'INSERT IGNORE INTO ' . Db::name( $to ) . ' (option_name, option_value, autoload) SELECT option_name, option_value, autoload FROM ' . Db::name( $from ) . ' WHERE ' . self::OURS );
	}

	/** Makes this plugin one of the active ones of an options table. */
	public static function activation( Db $db, string $table ): void {
		$ours  = plugin_basename( PLUGIN_FILE );
		$value = $db->value( 'SELECT option_value FROM ' . Db::name( $table ) . " WHERE option_name = 'active_plugins'" );
		$new   = self::with( (string) $value, $ours );
		if ( null === $value ) {
			$db->run( 'INSERT INTO ' . Db::name( $table ) . " (option_name, option_value, autoload) VALUES ('active_plugins', " . $db->text( $new ) . ", 'yes')" );
		} elseif ( $new !== $value ) {
			$db->run( 'UPDATE ' . Db::name( $table ) . ' SET option_value = ' . $db->text( $new ) . " WHERE option_name = 'active_plugins'" );
		}
	}

	/** A serialised list of plugins with one more. A value that is no such list counts as an empty one. */
	public static function with( string $list, string $plugin ): string {
		$plugins = self::listed( $list );
		if ( ! in_array( $plugin, $plugins, true ) ) {
			$plugins[] = $plugin;
		} elseif ( null !== self::form( $list ) ) {
			return $list;
		}
		return serialize( array_values( $plugins ) );
	}

	/** @return string[] The texts of a serialised array of texts, read without unserialising. */
	private static function listed( string $list ): array {
		$at      = self::form( $list );
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
	private static function form( string $list ): ?int {
		return 1 === preg_match( '/\Aa:\d{1,5}:\{/', $list, $found ) ? strlen( $found[0] ) : null;
	}
}
