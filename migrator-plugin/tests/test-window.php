<?php
/**
 * The window, the key and the memory of nonces.
 */

require __DIR__ . '/load.php';

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\Option_Store;

test(
	'without a key nobody passes, not even with an empty one',
	static function () {
		foreach ( array( '', '00', str_repeat( '0', 64 ) ) as $key ) {
			check( ! admitted( signed( $key ) ), "key $key" );
		}
	}
);

test(
	'a damaged state is no key',
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
	'opening twice keeps the key, opening after sleep makes a new one',
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
	'each use makes it an hour again, and an hour without sends it to sleep',
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
	'a refusal does not keep it open',
	static function () {
		opened();
		admitted( signed( str_repeat( '0', 64 ), array( 'timestamp' => (string) ( NOW + 100 ) ) ), NOW + 100 );
		same( NOW + 3600, Access_Window::load()->open_until(), 'window' );
	}
);

test(
	'the import switch is what was last said',
	static function () {
		foreach ( array( true, false, true ) as $import ) {
			opened( NOW, $import );
			same( $import, Access_Window::load()->import_enabled(), 'import' );
		}
	}
);

test(
	'a request that was slow does not bring a forgotten key back',
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
	'nonces are forgotten when their time can no longer pass, and not before',
	static function () {
		global $wpdb;
		$bucket = Option_Store::BUCKET_SECONDS;
		for ( $second = 0; $second < $bucket; $second++ ) {
			Wordpress_Stand_In::reset();
			Option_Store::delete_all();
			$sent   = NOW + $second;
			$key    = opened( $sent );
			$fields = signed( $key, array( 'timestamp' => (string) $sent ) );
			check( admitted( $fields, $sent ), 'the first time' );
			foreach ( array( 0, 1, 299, 300 ) as $later ) {
				admitted( signed( $key, array( 'timestamp' => (string) ( $sent + $later ) ) ), $sent + $later );
				check( ! admitted( $fields, $sent + $later ), "again after $later s" );
			}
			// All that is kept is of times that could come again.
			$now = $sent + 10 * $bucket + 600;
			check( admitted( signed( $key, array( 'timestamp' => (string) $now ) ), $now ), 'much later' );
			same( 2, count( $wpdb->names() ), 'rows much later' );
		}
	}
);

test(
	'a nonce is remembered with others of its time, in any order',
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
	'there are never more nonces than the limit',
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
	'requests that come close after one another do not write the window each time',
	static function () {
		$key = opened();
		foreach ( array( 29 => 0, 30 => 30, 59 => 30, 60 => 60 ) as $after => $pushed ) {
			check( admitted( signed( $key, array( 'timestamp' => (string) ( NOW + $after ) ) ), NOW + $after ), 'admitted' );
			same( NOW + $pushed + 3600, Access_Window::load()->open_until(), "window after $after s" );
		}
	}
);

test(
	'other options are left alone',
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
	'uninstalling leaves nothing',
	static function () {
		global $wpdb;
		admitted( signed( opened() ) );
		same( 2, count( $wpdb->names() ), 'rows before' );
		define( 'WP_UNINSTALL_PLUGIN', 'wpclone-migrator/wpclone-migrator.php' );
		require __DIR__ . '/../wpclone-migrator/uninstall.php';
		same( array(), $wpdb->names(), 'rows' );
	}
);
