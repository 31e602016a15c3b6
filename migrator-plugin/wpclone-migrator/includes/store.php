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

	/** Rows with remembered nonces: one for each BUCKET seconds of the requests' times, its number in the name. */
	const NONCE_PREFIX = 'wpclone_migrator_nonces_';

	const BUCKET = 16;

	/** With so many bytes in one of them, requests of that time are refused. */
	const MOST_IN_BUCKET = 270336;

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

	/**
	 * Remembers a nonce for as long as its time may pass the gate's clock; false if it was known already, or if there
	 * are too many. Each statement is atomic, and says by the rows that it changed whether the nonce was new.
	 */
	public static function remember( string $nonce, int $time, int $clock, int $now ): bool {
		global $wpdb;
		// The last second of a bucket has to be out of the clock's reach. Numbers have nine digits until the year 2476.
		$gone = (int) floor( ( $now - $clock ) / self::BUCKET ) - 1;
		$wpdb->query(
			$wpdb->prepare(
				"DELETE FROM {$wpdb->options} WHERE option_name LIKE %s AND option_name <= %s",
				$wpdb->esc_like( self::NONCE_PREFIX ) . '%',
				self::NONCE_PREFIX . $gone
			)
		);
		$bucket = self::NONCE_PREFIX . (int) floor( $time / self::BUCKET );
		$append = $wpdb->prepare(
			"UPDATE {$wpdb->options} SET option_value = CONCAT(option_value, %s) WHERE option_name = %s AND INSTR(option_value, %s) = 0 AND LENGTH(option_value) < " . self::MOST_IN_BUCKET,
			" $nonce",
			$bucket,
			$nonce
		);
		return 1 === $wpdb->query( $append ) || self::insert( $bucket, $nonce ) || 1 === $wpdb->query( $append );
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

	/** The same on every site of a network. */
	public static function erase_everywhere(): void {
		if ( ! is_multisite() ) {
			self::erase();
			return;
		}
		// By pages, since a network may have very many sites.
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
				self::erase();
				restore_current_blog();
			}
			++$page;
		} while ( array() !== $sites );
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
