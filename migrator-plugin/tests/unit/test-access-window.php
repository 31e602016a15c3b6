<?php
/**
 * The access window, the key, and the memory of nonces.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\State_Store;

test(
	'without a key every request is rejected, even one signed with an empty key',
	static function () {
		foreach ( array( '', '00', str_repeat( '0', 64 ) ) as $key ) {
			check( ! is_authenticated( signed_request( $key ) ), "key $key" );
		}
	}
);

test(
	'a damaged state counts as no key',
	static function () {
		$until = NOW + 100;
		$keys  = array( '""', '"00"', '"' . str_repeat( 'a', 63 ) . '"', '"' . str_repeat( 'A', 64 ) . '"', '"' . str_repeat( 'a', 64 ) . '\\n"', 'null', '1', '[]' );
		foreach ( $keys as $key ) {
			store_state( "{\"key\":$key,\"open_until\":$until}" );
			check( ! Access_Window::load()->is_open( NOW ) && ! Access_Window::load()->has_key(), $key );
			check( ! is_authenticated( signed_request( trim( $key, '"' ) ) ) && ! is_authenticated( signed_request( '' ) ), $key );
		}
		foreach ( array( '', '0', 'null', '[]', '"x"', '{', 'a:1:{}', '{"key":"' . str_repeat( 'a', 64 ) . '"}' ) as $state ) {
			store_state( $state );
			check( ! Access_Window::load()->is_open( NOW ), $state );
		}
		check( Access_Window::open( NOW, true ) && Access_Window::load()->is_open( NOW ), 'and can be opened again' );
	}
);

test(
	'opening an open window keeps the key, opening a closed one creates a new key',
	static function () {
		$first = open_window();
		same( 64, strlen( $first ), 'length' );
		same( $first, open_window( NOW + 3599 ), 'still open' );
		same( null, Access_Window::load()->key( NOW + 3599 + 3600 ), 'closed' );
		$later = open_window( NOW + 3599 + 3600 );
		check( $later !== $first, 'a new key' );
		$at = array( 'timestamp' => (string) ( NOW + 7199 ) );
		check( ! is_authenticated( signed_request( $first, $at ), NOW + 7199 ), 'the old key is refused' );
		check( is_authenticated( signed_request( $later, $at ), NOW + 7199 ), 'the new one passes' );
	}
);

test(
	'every request extends the window to one hour, and an hour without requests closes it',
	static function () {
		$key = open_window();
		foreach ( array( 3599, 7198, 10797 ) as $after ) {
			check( is_authenticated( signed_request( $key, array( 'timestamp' => (string) ( NOW + $after ) ) ), NOW + $after ), "after $after s" );
			same( NOW + $after + 3600, Access_Window::load()->open_until(), 'window' );
		}
		$closed = NOW + 10797 + 3600;
		check( ! is_authenticated( signed_request( $key, array( 'timestamp' => (string) $closed ) ), $closed ), 'closed' );
	}
);

test(
	'for a day after it closed the key undoes what was left, and opens nothing',
	static function () {
		$key    = open_window();
		$routes = array_keys( \Wpclone\Migrator\Route_Table::IMPORT_ONLY );
		$undo   = array( 'remove', 'rollback', 'commit', 'abort' );
		foreach ( array( 3600, 89999 ) as $after ) {
			foreach ( $routes as $route ) {
				$fields = signed_request( $key, array( 'route' => $route, 'timestamp' => (string) ( NOW + $after ) ) );
				same( in_array( $route, $undo, true ), is_authenticated( $fields, NOW + $after ), "$route after $after s" );
			}
			same( NOW + 3600, Access_Window::load()->open_until(), 'the window stays closed' );
		}
		foreach ( $routes as $route ) {
			$fields = signed_request( $key, array( 'route' => $route, 'timestamp' => (string) ( NOW + 90000 ) ) );
			check( ! is_authenticated( $fields, NOW + 90000 ), "$route after 25 hours" );
		}
	}
);

test(
	'a key that was replaced undoes nothing',
	static function () {
		$old   = open_window();
		$later = NOW + 3600;
		check( open_window( $later ) !== $old, 'a new key' );
		foreach ( array( 'remove', 'rollback', 'commit', 'abort' ) as $route ) {
			$fields = array( 'route' => $route, 'timestamp' => (string) $later );
			check( ! is_authenticated( signed_request( $old, $fields ), $later ), $route );
		}
	}
);

test(
	'a rejected request does not extend the window',
	static function () {
		open_window();
		is_authenticated( signed_request( str_repeat( '0', 64 ), array( 'timestamp' => (string) ( NOW + 100 ) ) ), NOW + 100 );
		same( NOW + 3600, Access_Window::load()->open_until(), 'window' );
	}
);

test(
	'the import setting is the one of the last opening',
	static function () {
		foreach ( array( true, false, true ) as $import ) {
			open_window( NOW, $import );
			same( $import, Access_Window::load()->import_enabled(), 'import' );
		}
	}
);

test(
	'a slow request does not bring a revoked key back',
	static function () {
		global $wpdb;
		open_window();
		$slow = Access_Window::load();
		State_Store::delete_all();
		$slow->extend( NOW + 10 );
		same( array(), $wpdb->names(), 'rows' );

		open_window();
		$slow = Access_Window::load();
		State_Store::delete_all();
		$key = open_window( NOW + 5 );
		$slow->extend( NOW + 10 );
		same( $key, Access_Window::load()->key( NOW ), 'the new key stays' );
	}
);

test(
	'nonces are remembered exactly as long as their timestamps are accepted',
	static function () {
		global $wpdb;
		$bucket = State_Store::BUCKET_SECONDS;
		for ( $second = 0; $second < $bucket; $second++ ) {
			Wordpress_Stub::reset();
			State_Store::delete_all();
			$sent   = NOW + $second;
			$key    = open_window( $sent );
			$fields = signed_request( $key, array( 'timestamp' => (string) $sent ) );
			check( is_authenticated( $fields, $sent ), 'the first time' );
			foreach ( array( 0, 1, 299, 300 ) as $later ) {
				is_authenticated( signed_request( $key, array( 'timestamp' => (string) ( $sent + $later ) ) ), $sent + $later );
				check( ! is_authenticated( $fields, $sent + $later ), "again after $later s" );
			}
			// Only nonces whose timestamps may still be accepted are kept.
			$now = $sent + 10 * $bucket + 600;
			check( is_authenticated( signed_request( $key, array( 'timestamp' => (string) $now ) ), $now ), 'much later' );
			same( 2, count( $wpdb->names() ), 'rows much later' );
		}
	}
);

test(
	'nonces of the same time are all remembered, in any order',
	static function () {
		$key  = open_window();
		$sent = array();
		for ( $i = 0; $i < 300; $i++ ) {
			$at     = NOW + ( $i * 7 ) % 290;
			$sent[] = signed_request( $key, array( 'timestamp' => (string) $at ) );
		}
		foreach ( $sent as $fields ) {
			check( is_authenticated( $fields ), 'the first time' );
		}
		shuffle( $sent );
		foreach ( $sent as $fields ) {
			check( ! is_authenticated( $fields ), 'again' );
		}
	}
);

test(
	'the number of nonces is limited',
	static function () {
		global $wpdb;
		$key    = open_window();
		$bucket = State_Store::NONCE_PREFIX . intdiv( NOW, State_Store::BUCKET_SECONDS );
		$wpdb->query( "INSERT INTO wp_wpclone_migrator (name, value) VALUES ('$bucket', '" . str_repeat( 'x', State_Store::MAX_BUCKET_BYTES ) . "')" );
		check( ! is_authenticated( signed_request( $key ) ), 'full' );
		same( 2, count( $wpdb->names() ), 'rows' );
		$later = NOW + State_Store::BUCKET_SECONDS;
		check( is_authenticated( signed_request( $key, array( 'timestamp' => (string) $later ) ), $later ), 'room again' );
	}
);

test(
	'requests in quick succession do not write the window every time',
	static function () {
		$key = open_window();
		foreach ( array( 29 => 0, 30 => 30, 59 => 30, 60 => 60 ) as $after => $pushed ) {
			check( is_authenticated( signed_request( $key, array( 'timestamp' => (string) ( NOW + $after ) ) ), NOW + $after ), 'admitted' );
			same( NOW + $pushed + 3600, Access_Window::load()->open_until(), "window after $after s" );
		}
	}
);

test(
	'the options are not touched: the key and the nonces are in a table of the plugin',
	static function () {
		global $wpdb;
		$wpdb->query( "INSERT INTO wp_options (option_name, option_value) VALUES ('wpclone_migrator', 'of somebody else')" );
		$key = open_window();
		check( is_authenticated( signed_request( $key ) ), 'admitted' );
		same( 2, count( $wpdb->names() ), 'rows' );
		same( '1', $wpdb->get_var( 'SELECT COUNT(*) FROM wp_options' ), 'options' );
		check( State_Store::delete_all() && ! $wpdb->has_own_table(), 'the table is gone' );
		same( 'of somebody else', $wpdb->get_var( 'SELECT option_value FROM wp_options' ), 'the option' );
	}
);

test(
	'without its table the plugin knows no key, and asking for one is no error in a page',
	static function () {
		global $wpdb;
		check( ! Access_Window::load()->has_key(), 'no key' );
		check( ! is_authenticated( signed_request( str_repeat( '0', 64 ) ) ), 'refused' );
		check( ! $wpdb->has_own_table(), 'nothing was created' );
	}
);

test(
	'a copy\'s owner opens the window with a key of their own, whatever was stored',
	static function () {
		$key = str_repeat( 'ab', 32 );
		foreach ( array( false, true ) as $is_open ) {
			if ( $is_open ) {
				open_window();
			}
			check( Access_Window::open_with_key( $key, NOW + 7200 ), 'opens' );
			same( array( $key, NOW + 7200, true ), array( Access_Window::load()->key( NOW ), Access_Window::load()->open_until(), Access_Window::load()->import_enabled() ), 'window' );
			check( is_authenticated( signed_request( $key ) ), 'admitted' );
		}
	}
);

test(
	'uninstalling deletes everything',
	static function () {
		global $wpdb;
		is_authenticated( signed_request( open_window() ) );
		same( 2, count( $wpdb->names() ), 'rows before' );
		define( 'WP_UNINSTALL_PLUGIN', 'wpclone-migrator/wpclone-migrator.php' );
		require __DIR__ . '/../../wpclone-migrator/uninstall.php';
		same( array(), $wpdb->names(), 'rows' );
	}
);
