<?php
/**
 * Which tables are this site's.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Tables {
	/** What the names of our own tables begin with, after the site's prefix. */
	const OURS = 'wpclone_';

	/**
	 * Names of tables and views that belong to this site, sorted: name => whether it is a view.
	 *
	 * @return array<string, bool>
	 */
	public static function ours( Db $db ): array {
		list( $ours ) = self::sorted_out( $db );
		return $ours;
	}

	/** Prefixes of other installations in the same database. */
	public static function others( Db $db ): array {
		list( , $others ) = self::sorted_out( $db );
		return $others;
	}

	/** @return array{0: array<string, bool>, 1: string[]} */
	private static function sorted_out( Db $db ): array {
		global $wpdb;
		$prefix = $wpdb->base_prefix;
		$all    = array();
		foreach ( $db->all( 'SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()' ) as $row ) {
			$all[ (string) $row[0] ] = 'VIEW' === $row[1];
		}
		ksort( $all, SORT_STRING );
		$others = self::other_prefixes( array_keys( $all ), $prefix );
		$named  = array( $wpdb->users, $wpdb->usermeta );
		$ours   = array();
		foreach ( $all as $name => $is_view ) {
			$name = (string) $name;
			if ( in_array( $name, $named, true ) || ( self::begins( $name, $prefix ) && ! self::begins( $name, $prefix . self::OURS ) && ! self::begins_any( $name, $others ) ) ) {
				$ours[ $name ] = $is_view;
			}
		}
		return array( $ours, $others );
	}

	/**
	 * Prefixes longer than ours that have tables of a whole WordPress. A network's sites (`wp_2_`) are ours.
	 *
	 * @param array<int|string> $names
	 */
	private static function other_prefixes( array $names, string $prefix ): array {
		$found = array();
		$names = array_flip( array_map( 'strval', $names ) );
		foreach ( array_keys( $names ) as $name ) {
			$name  = (string) $name;
			$other = substr( $name, 0, -strlen( 'options' ) );
			if ( $other . 'options' !== $name || $other === $prefix || ( '' !== $prefix && ! self::begins( $other, $prefix ) ) ) {
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

	/** Whether a text begins with another one. */
	public static function begins( string $text, string $with ): bool {
		return 0 === strncmp( $text, $with, strlen( $with ) );
	}

	private static function begins_any( string $text, array $with ): bool {
		foreach ( $with as $one ) {
			if ( self::begins( $text, $one ) ) {
				return true;
			}
		}
		return false;
	}
}
