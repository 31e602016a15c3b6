<?php
/**
 * The settings page and its forms.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\Settings_Page;

/** The HTML of the page. */
function page_html(): string {
	ob_start();
	Settings_Page::render();
	return (string) ob_get_clean();
}

/** Submits one of the forms; returns how WordPress ends the request. */
function submit( string $form, array $fields = array(), string $method = 'POST' ): string {
	$_POST                     = $fields;
	$_SERVER['REQUEST_METHOD'] = $method;
	try {
		Settings_Page::$form();
	} catch ( Redirected $e ) {
		return $e->getMessage();
	} catch ( Died $e ) {
		return $e->getMessage();
	}
	throw new RuntimeException( 'it returned' );
}

const BACK = '303 https://a.example/wp/wp-admin/options-general.php?page=wpclone-migrator';

test(
	'while access is disabled, the page has the form to enable it, no key, and nothing to revoke',
	static function () {
		$html = page_html();
		check( 1 === preg_match( '/id="wpclone-migrator"\s+data-version="\d+\.\d+\.\d+"\s+data-open="0"\s+data-import="0"/', $html ), $html );
		check( false !== strpos( $html, '<form id="wpclone-migrator-open" method="post" action="https://a.example/wp/wp-admin/admin-post.php">' ), $html );
		check( false !== strpos( $html, 'name="action" value="wpclone_migrator_open"' ), $html );
		check( false !== strpos( $html, 'name="_wpnonce" value="nonce-of-wpclone_migrator_open"' ), $html );
		check( false === strpos( $html, 'wpclone-migrator-key' ), $html );
		check( false === strpos( $html, 'wpclone-migrator-close' ), $html );
		check( false === strpos( $html, 'name="submit"' ), $html );
	}
);

test(
	'while access is enabled the page has the key in one password field, and afterwards it does not',
	static function () {
		same( BACK, submit( 'open', array( 'import' => '1' ) ), 'answer' );
		$key  = (string) Access_Window::load()->key( time() );
		$html = page_html();
		check( 1 === preg_match( '/data-open="1"\s+data-import="1"/', $html ), $html );
		check( 1 === preg_match( '/<input id="wpclone-migrator-key" [^>]*type="password" readonly autocomplete="off" value="' . $key . '">/', $html ), $html );
		same( 1, substr_count( $html, $key ), 'times that the key is in the page' );
		check( 1 === preg_match( '/<input name="import" type="checkbox" value="1" checked=/', $html ), $html );

		store_state( (string) json_encode( array( 'key' => $key, 'open_until' => time() - 1, 'import_enabled' => true ) ) );
		$html = page_html();
		check( 1 === preg_match( '/data-open="0"\s+data-import="0"/', $html ), $html );
		check( false === strpos( $html, $key ), 'the key of an open window is in the page of a closed one' );
	}
);

test(
	'ids are unique in the page',
	static function () {
		submit( 'open' );
		preg_match_all( '/ id="([^"]*)"/', page_html(), $ids );
		same( array_unique( $ids[1] ), $ids[1], 'ids' );
	}
);

test(
	'import is enabled only by exactly "1"',
	static function () {
		foreach ( array( '1' => true, '0' => false, 'yes' => false, '' => false ) as $value => $import ) {
			submit( 'open', array( 'import' => (string) $value ) );
			same( $import, Access_Window::load()->import_enabled(), "import=$value" );
		}
		submit( 'open', array( 'import' => array( '1' ) ) );
		same( false, Access_Window::load()->import_enabled(), 'an array' );
	}
);

test(
	'revoking deletes key, window and nonces',
	static function () {
		global $wpdb;
		submit( 'open' );
		same( BACK, submit( 'close' ), 'answer' );
		same( array(), $wpdb->names(), 'rows' );
	}
);

test(
	'without capability, nonce or POST nothing changes',
	static function () {
		global $wpdb;
		foreach ( array( 'open', 'close' ) as $form ) {
			Wordpress_Stub::reset();
			submit( 'open' );
			$before = Access_Window::load()->key( time() );

			same( '403', submit( $form, array( 'import' => '1' ), 'GET' ), 'GET' );
			Wordpress_Stub::$nonce_valid = false;
			same( '403', submit( $form, array( 'import' => '1' ) ), 'nonce' );
			Wordpress_Stub::$nonce_valid = true;
			Wordpress_Stub::$user_may    = false;
			same( '403', submit( $form, array( 'import' => '1' ) ), 'capability' );

			same( $before, Access_Window::load()->key( time() ), 'key' );
			same( false, Access_Window::load()->import_enabled(), 'import' );
		}
	}
);

test(
	'on a network only network administrators have access',
	static function () {
		foreach ( array( 'manage_options' => false, 'manage_network_options' => true ) as $capability => $multisite ) {
			Wordpress_Stub::$multisite = $multisite;
			Settings_Page::menu();
			same( $capability, Wordpress_Stub::$asked_capability, 'menu' );
			submit( 'open' );
			same( $capability, Wordpress_Stub::$asked_capability, 'form' );
		}
	}
);
