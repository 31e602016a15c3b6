<?php
/**
 * Our rows in the options table.
 *
 * The rows are read and written by SQL of our own, because get_option() and add_option() are neither atomic
 * (add_option() updates a row that is there) nor always fresh (an object cache answers for them).
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Store {
	/** The option with the state. Every row of ours begins with this name; uninstalling relies on it. */
	const OPTION = 'wpclone_migrator';

	/** A row for each remembered nonce: its value is the time (Unix seconds) until which it is remembered. */
	const NONCE_PREFIX = 'wpclone_migrator_nonce_';

	/** With more nonces than these alive, requests are refused until some expire. */
	const MOST_NONCES = 8192;

	/** The state as it was stored, or null. */
	public static function read(): ?string {
		global $wpdb;
		$value = $wpdb->get_var(
			$wpdb->prepare( "SELECT option_value FROM {$wpdb->options} WHERE option_name = %s", self::OPTION )
		);
		return is_string( $value ) ? $value : null;
	}

	/**
	 * Writes the state if it still is what it was when it was read; says whether it did. A slow request can thus
	 * not bring back a key that was forgotten meanwhile.
	 */
	public static function swap( ?string $old, string $new ): bool {
		global $wpdb;
		if ( null === $old ) {
			return self::insert( self::OPTION, $new );
		}
		return 1 === $wpdb->query(
			$wpdb->prepare(
				"UPDATE {$wpdb->options} SET option_value = %s WHERE option_name = %s AND option_value = %s",
				$new,
				self::OPTION,
				$old
			)
		);
	}

	/** Remembers a nonce; false if it was known already, or if there are too many. */
	public static function remember( string $nonce, int $until, int $now ): bool {
		global $wpdb;
		$ours = $wpdb->esc_like( self::NONCE_PREFIX ) . '%';
		// Times have ten digits until the year 2286, so that they compare as texts.
		$wpdb->query(
			$wpdb->prepare(
				"DELETE FROM {$wpdb->options} WHERE option_name LIKE %s AND option_value < %s",
				$ours,
				(string) $now
			)
		);
		$alive = $wpdb->get_var(
			$wpdb->prepare( "SELECT COUNT(*) FROM {$wpdb->options} WHERE option_name LIKE %s", $ours )
		);
		if ( null === $alive || (int) $alive >= self::MOST_NONCES ) {
			return false;
		}
		return self::insert( self::NONCE_PREFIX . $nonce, (string) $until );
	}

	/** Removes every row of ours from the current site. */
	public static function erase(): void {
		global $wpdb;
		$wpdb->query(
			$wpdb->prepare(
				"DELETE FROM {$wpdb->options} WHERE option_name = %s OR option_name LIKE %s",
				self::OPTION,
				$wpdb->esc_like( self::OPTION . '_' ) . '%'
			)
		);
	}

	/** A new row; false if the name was taken. The unique index of option_name makes this atomic. */
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
