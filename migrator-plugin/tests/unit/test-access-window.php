<?php
/**
 * The access window, the key, and the memory of nonces.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\Option_Store;

test(
	'without a key every request is rejected, even one signed with an empty key',
	static function () {
		foreach ( array( '', '00', str_repeat( '0', 64 ) ) as $key ) {
			check( ! admitted( signed( $key ) ), "key $key" );
		}
	}
);

test(
	'a damaged state counts as no key',
	static function () {
		$until = NOW + 100;
		$keys  = array( '""', '"00"', '"' . str_repeat( 'a', 63 ) . '"', '"' . str_repeat( 'A', 64 ) . '"', '"' . str_repeat( 'a', 64 ) . '\\n"', 'null', '1', '[]' );
		foreach ( $keys as $key ) {
			store( "{\"key\":$key,\"open_until\":$until}" );
			check( ! Access_Window::load()->is_open( NOW ) && ! Access_Window::load()->has_key(), $key );
			check( ! admitted( signed( trim( $key, '"' ) ) ) && ! admitted( signed( '' ) ), $key );
		}
		foreach ( array( '', '0', 'null', '[]', '"x"', '{', 'a:1:{}', '{"key":"' . str_repeat( 'a', 64 ) . '"}' ) as $state ) {
			store( $state );
			check( ! Access_Window::load()->is_open( NOW ), $state );
		}
		check( Access_Window::open( NOW, true ) && Access_Window::load()->is_open( NOW ), 'and can be opened again' );
	}
);

test(
	'opening an open window keeps the key, opening a closed one creates a new key',
	static function () {
		$first = opened();
		same( 64, strlen( $first ), 'length' );
		same( $first, opened( NOW + 3599 ), 'still open' );
		same( null, Access_Window::load()->key( NOW + 3599 + 3600 ), 'asleep' );
		$later = opened( NOW + 3599 + 3600 );
		check( $later !== $first, 'a new key' );
		$at = array( 'timestamp' => (string) ( NOW + 7199 ) );
		check( ! admitted( signed( $first, $at ), NOW + 7199 ), 'the old key is refused' );
		check( admitted( signed( $later, $at ), NOW + 7199 ), 'the new one passes' );
	}
);

test(
	'every request extends the window to one hour, and an hour without requests closes it',
	static function () {
		$key = opened();
		foreach ( array( 3599, 7198, 10797 ) as $after ) {
			check( admitted( signed( $key, array( 'timestamp' => (string) ( NOW + $after ) ) ), NOW + $after ), "after $after s" );
			same( NOW + $after + 3600, Access_Window::load()->open_until(), 'window' );
		}
		$asleep = NOW + 10797 + 3600;
		check( ! admitted( signed( $key, array( 'timestamp' => (string) $asleep ) ), $asleep ), 'asleep' );
	}
);

test(
	'a rejected request does not extend the window',
	static function () {
		opened();
		admitted( signed( str_repeat( '0', 64 ), array( 'timestamp' => (string) ( NOW + 100 ) ) ), NOW + 100 );
		same( NOW + 3600, Access_Window::load()->open_until(), 'window' );
	}
);

test(
	'the import setting is the one of the last opening',
	static function () {
		foreach ( array( true, false, true ) as $import ) {
			opened( NOW, $import );
			same( $import, Access_Window::load()->import_enabled(), 'import' );
		}
	}
);

test(
	'a slow request does not bring a revoked key back',
	static function () {
		global $wpdb;
		opened();
		$slow = Access_Window::load();
		Option_Store::delete_all();
		$slow->extend( NOW + 10 );
		same( array(), $wpdb->names(), 'rows' );

		opened();
		$slow = Access_Window::load();
		Option_Store::delete_all();
		$key = opened( NOW + 5 );
		$slow->extend( NOW + 10 );
		same( $key, Access_Window::load()->key( NOW ), 'the new key stays' );
	}
);

test(
	'nonces are remembered exactly as long as their timestamps are accepted',
	static function () {
		global $wpdb;
		$bucket = Option_Store::BUCKET_SECONDS;
		for ( $second = 0; $second < $bucket; $second++ ) {
			Wordpress_Stub::reset();
			Option_Store::delete_all();
			$sent   = NOW + $second;
			$key    = opened( $sent );
			$fields = signed( $key, array( 'timestamp' => (string) $sent ) );
			check( admitted( $fields, $sent ), 'the first time' );
			foreach ( array( 0, 1, 299, 300 ) as $later ) {
				admitted( signed( $key, array( 'timestamp' => (string) ( $sent + $later ) ) ), $sent + $later );
				check( ! admitted( $fields, $sent + $later ), "again after $later s" );
			}
			// Only nonces whose timestamps may still be accepted are kept.
			$now = $sent + 10 * $bucket + 600;
			check( admitted( signed( $key, array( 'timestamp' => (string) $now ) ), $now ), 'much later' );
			same( 2, count( $wpdb->names() ), 'rows much later' );
		}
	}
);

test(
	'nonces of the same time are all remembered, in any order',
	static function () {
		$key  = opened();
		$sent = array();
		for ( $i = 0; $i < 300; $i++ ) {
			$at     = NOW + ( $i * 7 ) % 290;
			$sent[] = signed( $key, array( 'timestamp' => (string) $at ) );
		}
		foreach ( $sent as $fields ) {
			check( admitted( $fields ), 'the first time' );
		}
		shuffle( $sent );
		foreach ( $sent as $fields ) {
			check( ! admitted( $fields ), 'again' );
		}
	}
);

test(
	'the number of nonces is limited',
	static function () {
		global $wpdb;
		$key    = opened();
		$bucket = Option_Store::NONCE_PREFIX . intdiv( NOW, Option_Store::BUCKET_SECONDS );
		$wpdb->query( "INSERT INTO wp_options (option_name, option_value) VALUES ('$bucket', '" . str_repeat( 'x', Option_Store::MAX_BUCKET_BYTES ) . "')" );
		check( ! admitted( signed( $key ) ), 'full' );
		same( 2, count( $wpdb->names() ), 'rows' );
		$later = NOW + Option_Store::BUCKET_SECONDS;
		check( admitted( signed( $key, array( 'timestamp' => (string) $later ) ), $later ), 'room again' );
	}
);

test(
	'requests in quick succession do not write the window every time',
	static function () {
		$key = opened();
		foreach ( array( 29 => 0, 30 => 30, 59 => 30, 60 => 60 ) as $after => $pushed ) {
			check( admitted( signed( $key, array( 'timestamp' => (string) ( NOW + $after ) ) ), NOW + $after ), 'admitted' );
			same( NOW + $pushed + 3600, Access_Window::load()->open_until(), "window after $after s" );
		}
	}
);

test(
	'other options are not touched',
	static function () {
		global $wpdb;
		foreach ( array( 'wpclone-migrator', 'wpclone_migratory', 'wpcloneXmigratorXnonceX1', 'siteurl' ) as $name ) {
			$wpdb->query( "INSERT INTO wp_options (option_name, option_value) VALUES ('$name', '1')" );
		}
		$before = $wpdb->names();
		$key    = opened();
		check( admitted( signed( $key ) ), 'admitted' );
		Option_Store::delete_all();
		same( $before, $wpdb->names(), 'rows' );
	}
);

test(
	'uninstalling deletes everything',
	static function () {
		global $wpdb;
		admitted( signed( opened() ) );
		same( 2, count( $wpdb->names() ), 'rows before' );
		define( 'WP_UNINSTALL_PLUGIN', 'wpclone-migrator/wpclone-migrator.php' );
		require __DIR__ . '/../../wpclone-migrator/uninstall.php';
		same( array(), $wpdb->names(), 'rows' );
	}
);
