<?php
/**
 * The tables that belong to this site.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Site_Tables {
	/** The prefix of the plugin's own tables, after the site's prefix. */
	const PLUGIN_TABLE_PREFIX = 'wpclone_';

	/** Types of information_schema.TABLES that are no tables. */
	const VIEW     = 'VIEW';
	const SEQUENCE = 'SEQUENCE';

	/** The type of a table whose former rows are kept, in MariaDB. */
	const VERSIONED = 'SYSTEM VERSIONED';

	/**
	 * Tables, views and sequences of this site, sorted: name => type, as information_schema names it.
	 *
	 * @return array<string, string>
	 */
	public static function own_tables( Database $db ): array {
		list( $own ) = self::classify( $db );
		return $own;
	}

	/** Prefixes of other WordPress installations in the same database. */
	public static function other_prefixes( Database $db ): array {
		list( , $others ) = self::classify( $db );
		return $others;
	}

	/** @return array{0: array<string, string>, 1: string[]} */
	private static function classify( Database $db ): array {
		global $wpdb;
		$prefix = $wpdb->base_prefix;
		$all    = array();
		foreach ( $db->fetch_all( 'SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()' ) as $row ) {
			$all[ (string) $row[0] ] = (string) $row[1];
		}
		ksort( $all, SORT_STRING );
		$others = self::foreign_prefixes( array_keys( $all ), $prefix );
		$named  = array( $wpdb->users, $wpdb->usermeta );
		$own    = array();
		foreach ( $all as $name => $type ) {
			$name = (string) $name;
			if ( in_array( $name, $named, true ) || ( self::starts_with( $name, $prefix ) && ! self::starts_with( $name, $prefix . self::PLUGIN_TABLE_PREFIX ) && ! self::starts_with_any( $name, $others ) ) ) {
				$own[ $name ] = $type;
			}
		}
		return array( $own, $others );
	}

	/**
	 * Prefixes that begin with ours and have the tables of a whole WordPress. The sites of a network (`wp_2_`) are ours.
	 *
	 * @param array<int|string> $names
	 */
	private static function foreign_prefixes( array $names, string $prefix ): array {
		$found = array();
		$names = array_flip( array_map( 'strval', $names ) );
		foreach ( array_keys( $names ) as $name ) {
			$name  = (string) $name;
			$other = substr( $name, 0, -strlen( 'options' ) );
			if ( $other . 'options' !== $name || $other === $prefix || ( '' !== $prefix && ! self::starts_with( $other, $prefix ) ) ) {
				continue;
			}
			$whole = isset( $names[ $other . 'posts' ], $names[ $other . 'postmeta' ], $names[ $other . 'terms' ] );
			$site  = is_multisite() && 1 === preg_match( '/\A[0-9]+_\z/', substr( $other, strlen( $prefix ) ) );
			if ( $whole && ! $site ) {
				$found[] = $other;
			}
		}
		return $found;
	}

	/** Whether a string starts with another one (str_starts_with() needs PHP 8). */
	public static function starts_with( string $text, string $prefix ): bool {
		return 0 === strncmp( $text, $prefix, strlen( $prefix ) );
	}

	private static function starts_with_any( string $text, array $prefix ): bool {
		foreach ( $prefix as $one ) {
			if ( self::starts_with( $text, $one ) ) {
				return true;
			}
		}
		return false;
	}
}
