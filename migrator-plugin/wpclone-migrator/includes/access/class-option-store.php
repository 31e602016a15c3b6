<?php
/**
 * The plugin's rows in the options table.
 *
 * They are read and written with SQL of our own, because get_option() and add_option() are neither atomic
 * (add_option() overwrites an existing row) nor always fresh (an object cache may answer for them).
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Option_Store {
	/** The option with the access window. The names of all our rows begin with it; uninstalling relies on that. */
	const STATE_OPTION = 'wpclone_migrator';

	/** Prefix of the rows with used nonces: one row for every BUCKET_SECONDS of request timestamps, numbered. */
	const NONCE_PREFIX = 'wpclone_migrator_nonces_';

	const BUCKET_SECONDS = 16;

	/** When a row of nonces has reached this length, further requests of its time are rejected. */
	const MAX_BUCKET_BYTES = 270336;

	/** The stored access window, or null. */
	public static function read_state(): ?string {
		global $wpdb;
		$value = $wpdb->get_var(
			$wpdb->prepare( "SELECT option_value FROM {$wpdb->options} WHERE option_name = %s", self::STATE_OPTION )
		);
		return is_string( $value ) ? $value : null;
	}

	/**
	 * Replaces the stored access window if it is still `$old`; returns whether it was. So a slow request cannot bring
	 * back a key that was revoked in the meantime.
	 */
	public static function compare_and_swap( ?string $old, string $new ): bool {
		global $wpdb;
		if ( null === $old ) {
			return self::insert( self::STATE_OPTION, $new );
		}
		return 1 === $wpdb->query(
			$wpdb->prepare(
				"UPDATE {$wpdb->options} SET option_value = %s WHERE option_name = %s AND option_value = %s",
				$new,
				self::STATE_OPTION,
				$old
			)
		);
	}

	/**
	 * Remembers a nonce for as long as its timestamp is accepted; false if it was used before, or if there are too many
	 * nonces. Every statement is atomic, and its number of changed rows says whether the nonce was new.
	 */
	public static function remember_nonce( string $nonce, int $time, int $clock, int $now ): bool {
		global $wpdb;
		// A bucket is deleted when its last second is no longer accepted. Bucket numbers have nine digits until the year 2476.
		$expired = (int) floor( ( $now - $clock ) / self::BUCKET_SECONDS ) - 1;
		$wpdb->query(
			$wpdb->prepare(
				"DELETE FROM {$wpdb->options} WHERE option_name LIKE %s AND option_name <= %s",
				$wpdb->esc_like( self::NONCE_PREFIX ) . '%',
				self::NONCE_PREFIX . $expired
			)
		);
		$bucket = self::NONCE_PREFIX . (int) floor( $time / self::BUCKET_SECONDS );
		$append = $wpdb->prepare(
			"UPDATE {$wpdb->options} SET option_value = CONCAT(option_value, %s) WHERE option_name = %s AND INSTR(option_value, %s) = 0 AND LENGTH(option_value) < " . self::MAX_BUCKET_BYTES,
			" $nonce",
			$bucket,
			$nonce
		);
		return 1 === $wpdb->query( $append ) || self::insert( $bucket, $nonce ) || 1 === $wpdb->query( $append );
	}

	/** Deletes all our rows of the current site. */
	public static function delete_all(): void {
		global $wpdb;
		$wpdb->query(
			$wpdb->prepare(
				"DELETE FROM {$wpdb->options} WHERE option_name = %s OR option_name LIKE %s",
				self::STATE_OPTION,
				$wpdb->esc_like( self::STATE_OPTION . '_' ) . '%'
			)
		);
	}

	/** Deletes all our rows on every site of a network. */
	public static function delete_all_on_network(): void {
		if ( ! is_multisite() ) {
			self::delete_all();
			return;
		}
		// In pages, because a network may have very many sites.
		$page = 0;
		do {
			$sites = get_sites(
				array(
					'fields'  => 'ids',
					'number'  => 100,
					'offset'  => 100 * $page,
					'orderby' => 'id',
				)
			);
			foreach ( $sites as $site ) {
				switch_to_blog( $site );
				self::delete_all();
				restore_current_blog();
			}
			++$page;
		} while ( array() !== $sites );
	}

	/** Adds a row; false if the name exists. The unique index on option_name makes this atomic. */
	private static function insert( string $name, string $value ): bool {
		global $wpdb;
		return 1 === $wpdb->query(
			$wpdb->prepare(
				"INSERT IGNORE INTO {$wpdb->options} (option_name, option_value, autoload) VALUES (%s, %s, 'no')",
				$name,
				$value
			)
		);
	}
}
