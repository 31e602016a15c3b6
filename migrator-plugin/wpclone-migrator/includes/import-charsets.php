<?php
/**
 * Charsets and collations as this database knows them.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Charsets {
	/** The charset as it is called here, or null. */
	public static function charset( Db $db, string $name ): ?string {
		static $known = null;
		if ( null === $known ) {
			$known = array_column( $db->all( 'SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS' ), 0 );
		}
		foreach ( array( $name, self::other_name( $name ) ) as $one ) {
			if ( in_array( $one, $known, true ) ) {
				return $one;
			}
		}
		return null;
	}

	/** The nearest collation of a charset (as it is called here) that is known here, or null. */
	public static function collation( Db $db, string $name, string $charset ): ?string {
		$charset = self::charset( $db, $charset );
		if ( null === $charset || 1 !== preg_match( '/\A[a-z0-9_]{1,64}\z/', $name ) ) {
			return null;
		}
		if ( 'binary' === $charset ) {
			return 'binary';
		}
		$known = Collations::known( $db );
		foreach ( self::near( $name, $charset ) as $near ) {
			if ( in_array( $near, $known, true ) && Tables::begins( $near, $charset . '_' ) ) {
				return $near;
			}
		}
		return $db->value( 'SELECT DEFAULT_COLLATE_NAME FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = ' . $db->text( $charset ) );
	}

	/** Collations that order and compare alike, nearest first. */
	private static function near( string $name, string $charset ): array {
		$tail = (string) preg_replace( '/\A(?:utf8mb3|utf8mb4|utf8|[a-z0-9]+)_/', '', $name );
		$near = array( $name, "{$charset}_$tail", "{$charset}_" . str_replace( '_nopad', '', $tail ) );
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

	private static function other_name( string $charset ): string {
		$names = array(
			'utf8'    => 'utf8mb3',
			'utf8mb3' => 'utf8',
		);
		return $names[ $charset ] ?? $charset;
	}
}
