<?php
/**
 * The bootstrap of unit tests: the plugin with stubs for WordPress, and shared helpers.
 */

require __DIR__ . '/wordpress-stubs.php';
require __DIR__ . '/harness.php';
require __DIR__ . '/../../wpclone-migrator/wpclone-migrator.php';
require_once __DIR__ . '/../../wpclone-migrator/includes/load.php';
require_once __DIR__ . '/../../wpclone-migrator/includes/admin/class-settings-page.php';

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\Request;
use Wpclone\Migrator\Request_Authenticator;
use Wpclone\Migrator\Signature;
use Wpclone\Migrator\State_Store;

/** The current time in tests. */
const NOW = 1795000000;

/** Opens the access window and returns the key. */
function open_window( int $now = NOW, bool $import = false ): string {
	check( Access_Window::open( $now, $import ), 'opens' );
	return (string) Access_Window::load()->key( $now );
}

/**
 * A request signed with a key; `$fields` replace parts before signing.
 *
 * @return array<string, mixed>
 */
function signed_request( string $key, array $fields = array() ): array {
	$fields += array(
		'method'    => 'POST',
		'route'     => 'status',
		'unique'    => bin2hex( random_bytes( 16 ) ),
		'timestamp' => (string) NOW,
		'nonce'     => bin2hex( random_bytes( 16 ) ),
		'body'      => '{}',
	);
	$text    = Signature::canonical_request( new Request( $fields ), hash( 'sha256', is_string( $fields['body'] ) ? $fields['body'] : '' ) );
	$fields += array( 'signature' => 'v1=' . hash_hmac( 'sha256', $text, (string) @hex2bin( $key ) ) );
	return $fields;
}

/** Whether a request is authenticated. */
function is_authenticated( array $fields, int $now = NOW ): bool {
	return Request_Authenticator::authenticate( new Request( $fields ), Access_Window::load(), $now );
}

/** Stores any text as the plugin's state. */
function store_state( ?string $state ): void {
	State_Store::delete_all();
	if ( null !== $state ) {
		check( State_Store::create() && State_Store::compare_and_swap( null, $state ), 'stored' );
	}
}
