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

	/**
	 * Tables, views and sequences without this site's prefix that belong to no other WordPress installation, sorted: name =>
	 * type. Their owner may have made them for this site, or for something else.
	 *
	 * @return array<string, string>
	 */
	public static function unprefixed_tables( Database $db ): array {
		list( , , $unprefixed ) = self::classify( $db );
		return $unprefixed;
	}

	/**
	 * The tables, views and sequences that a request is about: the site's, and the unprefixed ones if it asks for them.
	 *
	 * @return array<string, string>
	 */
	public static function requested_tables( Database $db, bool $with_unprefixed ): array {
		list( $own, , $unprefixed ) = self::classify( $db );
		return $with_unprefixed ? $own + $unprefixed : $own;
	}

	/** Whether a name belongs to another WordPress installation in the same database. */
	public static function is_of_other_installation( Database $db, string $name ): bool {
		return self::starts_with_any( $name, self::other_prefixes( $db ) );
	}

	/** @return array{0: array<string, string>, 1: string[], 2: array<string, string>} */
	private static function classify( Database $db ): array {
		global $wpdb;
		$prefix = $wpdb->base_prefix;
		$all    = array();
		foreach ( $db->fetch_all( 'SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()' ) as $row ) {
			$all[ (string) $row[0] ] = (string) $row[1];
		}
		ksort( $all, SORT_STRING );
		$others = self::foreign_prefixes( array_keys( $all ), $prefix );
		$longer = array();
		foreach ( $others as $other ) {
			if ( self::starts_with( $other, $prefix ) ) {
				$longer[] = $other;
			}
		}
		$named      = array( $wpdb->users, $wpdb->usermeta );
		$own        = array();
		$unprefixed = array();
		foreach ( $all as $name => $type ) {
			$name        = (string) $name;
			$is_prefixed = self::starts_with( $name, $prefix );
			if ( in_array( $name, $named, true ) || ( $is_prefixed && ! self::starts_with( $name, $prefix . self::PLUGIN_TABLE_PREFIX ) && ! self::starts_with_any( $name, $longer ) ) ) {
				$own[ $name ] = $type;
			} elseif ( ! $is_prefixed && ! self::starts_with_any( $name, $others ) ) {
				$unprefixed[ $name ] = $type;
			}
		}
		return array( $own, $others, $unprefixed );
	}

	/**
	 * Prefixes other than ours that have the tables of a whole WordPress. The sites of a network (`wp_2_`) are ours.
	 *
	 * @param array<int|string> $names
	 */
	private static function foreign_prefixes( array $names, string $prefix ): array {
		$found = array();
		$names = array_flip( array_map( 'strval', $names ) );
		foreach ( array_keys( $names ) as $name ) {
			$name  = (string) $name;
			$other = substr( $name, 0, -strlen( 'options' ) );
			if ( $other . 'options' !== $name || $other === $prefix ) {
				continue;
			}
			$whole = isset( $names[ $other . 'posts' ], $names[ $other . 'postmeta' ], $names[ $other . 'terms' ] );
			$site  = is_multisite() && self::starts_with( $other, $prefix ) && 1 === preg_match( '/\A[0-9]+_\z/', substr( $other, strlen( $prefix ) ) );
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
