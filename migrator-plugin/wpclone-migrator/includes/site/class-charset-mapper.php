<?php
/**
 * Maps charsets and collations of the source to those of this database.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Charset_Mapper {
	/** The charset's name on this server, or null. */
	public static function charset( Database $db, string $name ): ?string {
		static $known = null;
		if ( null === $known ) {
			$known = array_column( $db->fetch_all( 'SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS' ), 0 );
		}
		foreach ( array( $name, self::alias( $name ) ) as $one ) {
			if ( in_array( $one, $known, true ) ) {
				return $one;
			}
		}
		return null;
	}

	/** The most similar collation of a charset that this server has, or null. */
	public static function collation( Database $db, string $name, string $charset ): ?string {
		$charset = self::charset( $db, $charset );
		if ( null === $charset || 1 !== preg_match( '/\A[a-z0-9_]{1,64}\z/', $name ) ) {
			return null;
		}
		if ( 'binary' === $charset ) {
			return 'binary';
		}
		$known = $db->collations();
		foreach ( self::candidates( $name, $charset ) as $candidate ) {
			if ( in_array( $candidate, $known, true ) && Site_Tables::starts_with( $candidate, $charset . '_' ) ) {
				return $candidate;
			}
		}
		return $db->fetch_value( 'SELECT DEFAULT_COLLATE_NAME FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = ' . $db->quote( $charset ) );
	}

	/** Collations that sort and compare alike, the most similar first. */
	private static function candidates( string $name, string $charset ): array {
		$tail = (string) preg_replace( '/\A(?:utf8mb3|utf8mb4|utf8|[a-z0-9]+)_/', '', $name );
		$near = array( $name, "{$charset}_$tail", "{$charset}_" . str_replace( '_nopad', '', $tail ) );
		// To MySQL's own ones spaces at the end of a text count, as in MariaDB to those of the name "nopad".
		if ( 1 === preg_match( '/0900_(?:ai_ci|as_ci|as_cs)\z/', $tail, $found ) ) {
			array_push( $near, "{$charset}_" . str_replace( '0900', 'uca1400_nopad', $found[0] ), "{$charset}_unicode_520_nopad_ci", "{$charset}_unicode_nopad_ci" );
		} elseif ( 1 === preg_match( '/0900_bin\z/', $tail ) ) {
			$near[] = "{$charset}_nopad_bin";
		}
		if ( 1 === preg_match( '/bin\z/', $tail ) ) {
			$near[] = "{$charset}_bin";
		} elseif ( 1 === preg_match( '/_as_cs\z|_cs\z/', $tail ) ) {
			array_push( $near, "{$charset}_0900_as_cs", "{$charset}_uca1400_as_cs", "{$charset}_bin" );
		} elseif ( 1 === preg_match( '/_as_ci\z/', $tail ) ) {
			array_push( $near, "{$charset}_0900_as_ci", "{$charset}_uca1400_as_ci" );
		}
		if ( 1 === preg_match( '/0900|uca1400|unicode/', $tail ) ) {
			array_push( $near, "{$charset}_0900_ai_ci", "{$charset}_uca1400_ai_ci", "{$charset}_unicode_520_ci", "{$charset}_unicode_ci" );
		}
		return $near;
	}

	private static function alias( string $charset ): string {
		$names = array(
			'utf8'    => 'utf8mb3',
			'utf8mb3' => 'utf8',
		);
		return $names[ $charset ] ?? $charset;
	}
}
