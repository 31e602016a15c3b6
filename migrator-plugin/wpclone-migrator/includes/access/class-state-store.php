<?php
/**
 * The plugin's own table, with the access window and the nonces that were used.
 *
 * Nothing of it is in the site's tables. That a nonce counts once relies on a primary key, and the options table of a site
 * may have lost its keys; and whoever reads the options table must not find the plugin's key in it.
 *
 * The SQL is our own, because get_option() and add_option() are neither atomic nor always fresh (an object cache may answer
 * for them).
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class State_Store {
	/** The table's name after the site's prefix, which on a network is that of the network. */
	const TABLE = 'wpclone_migrator';

	/** The row with the access window. */
	const ACCESS_WINDOW = 'access_window';

	/** Prefix of the rows with used nonces: one row for every BUCKET_SECONDS of request timestamps, numbered. */
	const NONCE_PREFIX = 'nonces_';

	const BUCKET_SECONDS = 16;

	/** When a row of nonces has reached this length, further requests of its time are rejected. */
	const MAX_BUCKET_BYTES = 270336;

	/** Makes sure that the table exists and has its primary key. False if the database does not allow it. */
	public static function create(): bool {
		$create = 'CREATE TABLE IF NOT EXISTS ' . self::table() . ' (name VARBINARY(64) NOT NULL PRIMARY KEY, value LONGBLOB NOT NULL)';
		self::query( $create );
		if ( self::is_usable() ) {
			return true;
		}
		// A table of this name without our key, as an import that broke off leaves it: nothing in it is valid.
		self::query( 'DROP TABLE IF EXISTS ' . self::table() );
		self::query( $create );
		return self::is_usable();
	}

	/** The stored access window. Null if there is none, or if the table has no primary key: then no request is accepted. */
	public static function read_window(): ?string {
		global $wpdb;
		$value = self::quietly(
			static function () use ( $wpdb ) {
				return $wpdb->get_var( $wpdb->prepare( 'SELECT value FROM ' . self::table_by_key() . ' WHERE name = %s', self::ACCESS_WINDOW ) );
			}
		);
		return is_string( $value ) ? $value : null;
	}

	/**
	 * Replaces the stored access window if it is still `$old`; returns whether it was. So a slow request cannot bring
	 * back a key that was revoked in the meantime.
	 */
	public static function compare_and_swap( ?string $old, string $new ): bool {
		if ( null === $old ) {
			return self::insert( self::ACCESS_WINDOW, $new );
		}
		return 1 === self::query( 'UPDATE ' . self::table() . ' SET value = %s WHERE name = %s AND value = %s', $new, self::ACCESS_WINDOW, $old );
	}

	/**
	 * Remembers a nonce for as long as its timestamp is accepted; false if it was used before, or if there are too many
	 * nonces. Every statement is atomic, and its number of changed rows says whether the nonce was new.
	 */
	public static function remember_nonce( string $nonce, int $time, int $clock, int $now ): bool {
		global $wpdb;
		// A bucket is deleted when its last second is no longer accepted. Bucket numbers have nine digits until the year 2476.
		$expired = (int) floor( ( $now - $clock ) / self::BUCKET_SECONDS ) - 1;
		self::query( 'DELETE FROM ' . self::table() . ' WHERE name LIKE %s AND name <= %s', $wpdb->esc_like( self::NONCE_PREFIX ) . '%', self::NONCE_PREFIX . $expired );
		$bucket = self::NONCE_PREFIX . (int) floor( $time / self::BUCKET_SECONDS );
		$append = static function () use ( $bucket, $nonce ) {
			return 1 === self::query( 'UPDATE ' . self::table() . ' SET value = CONCAT(value, %s) WHERE name = %s AND INSTR(value, %s) = 0 AND LENGTH(value) < ' . self::MAX_BUCKET_BYTES, " $nonce", $bucket, $nonce );
		};
		return $append() || self::insert( $bucket, $nonce ) || $append();
	}

	/** Drops the table. If that is not allowed it is emptied, which revokes the key, and the result is false. */
	public static function delete_all(): bool {
		if ( false !== self::query( 'DROP TABLE IF EXISTS ' . self::table() ) ) {
			return true;
		}
		self::query( 'DELETE FROM ' . self::table() );
		return false;
	}

	/** Adds a row; false if the name exists. The primary key makes this atomic. */
	private static function insert( string $name, string $value ): bool {
		return 1 === self::query( 'INSERT IGNORE INTO ' . self::table() . ' (name, value) VALUES (%s, %s)', $name, $value );
	}

	private static function is_usable(): bool {
		return false !== self::query( 'SELECT name, value FROM ' . self::table_by_key() . ' LIMIT 1' );
	}

	/** The quoted name of the table. */
	private static function table(): string {
		global $wpdb;
		return '`' . str_replace( '`', '``', $wpdb->base_prefix . self::TABLE ) . '`';
	}

	/** The table with its primary key: without the key a statement with it fails. */
	private static function table_by_key(): string {
		return self::table() . ' FORCE INDEX (PRIMARY)';
	}

	/**
	 * Runs a statement; returns the number of rows, or false if it failed.
	 *
	 * @param string ...$values
	 * @return int|bool
	 */
	private static function query( string $sql, ...$values ) {
		global $wpdb;
		$sql = $values ? $wpdb->prepare( $sql, ...$values ) : $sql;
		return self::quietly( static function () use ( $wpdb, $sql ) { return $wpdb->query( $sql ); } );
	}

	/**
	 * Runs something without errors of the database in pages and logs: while access is disabled there is no table.
	 *
	 * @return mixed
	 */
	private static function quietly( callable $run ) {
		global $wpdb;
		$before = $wpdb->suppress_errors( true );
		try {
			return $run();
		} finally {
			$wpdb->suppress_errors( $before );
		}
	}
}
