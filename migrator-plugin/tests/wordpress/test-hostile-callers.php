<?php
/**
 * Callers without the key, or with a request that was used before; users of the site without the right to see the key; and
 * what strangers see of the plugin.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';
require __DIR__ . '/../support/file-helpers.php';

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\Endpoints;
use Wpclone\Migrator\Settings_Page;

$site->load_plugin();
require_once "{$site->path}/wp-content/plugins/wpclone-migrator/includes/admin/class-settings-page.php";
require_once "{$site->path}/wp-admin/includes/template.php";

/** Thrown where WordPress would end the request. */
final class Ended extends Exception {}

add_filter( 'wp_redirect', static function ( $to, $status ) { throw new Ended( "$status" ); }, 10, 2 );
foreach ( array( 'wp_die_handler', 'wp_die_ajax_handler', 'wp_die_json_handler' ) as $filter ) {
	add_filter( $filter, static function () {
		return static function ( $message, $title, $args ) { throw new Ended( (string) ( wp_parse_args( $args )['response'] ?? 500 ) ); };
	} );
}

/** Submits a form as the current user, as wp-admin/admin-post.php does; returns how the request ends. */
function submit_as_current_user( string $action, ?string $nonce, string $method = 'POST', array $more = array() ): string {
	$_SERVER['REQUEST_METHOD'] = $method;
	$_POST                     = 'POST' === $method ? $more + array( '_wpnonce' => $nonce ) : array();
	$_GET                      = 'POST' === $method ? array() : $more + array( '_wpnonce' => $nonce );
	$_REQUEST                  = $_POST + $_GET;
	$hook                      = is_user_logged_in() ? "admin_post_$action" : "admin_post_nopriv_$action";
	try {
		do_action( $hook );
	} catch ( Ended $e ) {
		return $e->getMessage();
	}
	return 'nothing';
}

test(
	'without the key no import route does anything, whatever paths the request names',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
		$before = folder_contents( "{$site->path}/wp-content" );
		$state  = $site->access_window();
		$key    = $site->key;
		try {
			$frames = array();
			foreach ( array( '../../evil.php', 'x.php', '/tmp/evil', 'a.txt' ) as $path ) {
				array_push( $frames, frame_f( 4, $path, 1 ), array( 'D', 'x' ) );
			}
			$body = Test_Site::encode_frames( array( 'job' => $job ), $frames );
			foreach ( array( str_repeat( '0', 64 ), str_repeat( 'ab', 32 ), strrev( $key ) ) as $other ) {
				$site->key = $other;
				foreach ( array( 'store-files', 'load-rows', 'begin', 'define', 'staged-index', 'prepare', 'swap', 'commit', 'rollback', 'abort', 'remove', 'status' ) as $route ) {
					$got = $site->request( $route, in_array( $route, array( 'store-files', 'load-rows' ), true ) ? $body : array( 'job' => $job ) );
					same( array( 403, '{}' ), array( $got->status, $got->body ), $route );
				}
			}
		} finally {
			$site->key = $key;
		}
		same( $before, folder_contents( "{$site->path}/wp-content" ), 'files' );
		same( $state, $site->access_window(), 'access window' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'a signed request counts once, also when it is sent eight times at once or in another route',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
		$fields = array(
			'unique'    => bin2hex( random_bytes( 16 ) ),
			'timestamp' => (string) time(),
			'nonce'     => bin2hex( random_bytes( 16 ) ),
		);
		$body     = Test_Site::encode_frames( array( 'job' => $job ), array( frame_f( 4, 'once.txt', 1 ), array( 'D', 'x' ) ) );
		$started  = array_map( static function () use ( $site, $body, $fields ) { return $site->send( 'store-files', $body, 0, $fields ); }, range( 1, 8 ) );
		$statuses = array_map( static function ( $one ) use ( $site ) { return $site->await( $one )->status; }, $started );
		sort( $statuses );
		same( array( 200, 403, 403, 403, 403, 403, 403, 403 ), $statuses, 'statuses' );
		same( 403, $site->await( $site->send( 'store-files', $body, 0, $fields ) )->status, 'once more' );
		// Its nonce is used up for every route, and an old timestamp is not accepted with a new one.
		same( 403, $site->await( $site->send( 'abort', array( 'job' => $job ), 0, $fields ) )->status, 'another route' );
		same( 403, $site->await( $site->send( 'abort', array( 'job' => $job ), 0, array( 'timestamp' => (string) ( time() - 301 ) ) ) )->status, 'an old one' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'only an administrator with a valid nonce of their own, by POST, opens or closes access; the page shows the key to nobody else',
	static function () use ( $site ) {
		Settings_Page::register();
		$users = array( 'nobody' => 0 );
		foreach ( array( 'subscriber', 'contributor', 'author', 'editor', 'administrator' ) as $role ) {
			$users[ $role ] = wp_insert_user( array( 'user_login' => "is-$role", 'user_pass' => 'x', 'user_email' => "$role@real.invalid", 'role' => $role ) );
		}
		wp_set_current_user( $users['administrator'] );
		$nonces_of_administrator = array( Settings_Page::OPEN => wp_create_nonce( Settings_Page::OPEN ), Settings_Page::CLOSE => wp_create_nonce( Settings_Page::CLOSE ) );
		$state                   = $site->access_window();
		$key                     = (string) Access_Window::load()->key( time() );
		foreach ( $users as $role => $user ) {
			wp_set_current_user( $user );
			ob_start();
			Settings_Page::render();
			$shown = false !== strpos( (string) ob_get_clean(), $key );
			same( 'administrator' === $role, $shown, "$role sees the key" );
			foreach ( array( Settings_Page::OPEN, Settings_Page::CLOSE ) as $action ) {
				$own      = wp_create_nonce( $action );
				$attempts = array(
					'no nonce'       => array( null, 'POST' ),
					'an empty nonce' => array( '', 'POST' ),
					'another action' => array( wp_create_nonce( 'wpclone-migrator' ), 'POST' ),
					'a GET'          => array( $own, 'GET' ),
				);
				if ( 'administrator' !== $role ) {
					$attempts['an own nonce']                = array( $own, 'POST' );
					$attempts['the nonce of an administrator'] = array( $nonces_of_administrator[ $action ], 'POST' );
				} else {
					wp_set_current_user( $users['editor'] );
					$attempts['the nonce of an editor'] = array( wp_create_nonce( $action ), 'POST' );
					wp_set_current_user( $user );
				}
				foreach ( $attempts as $what => list( $nonce, $method ) ) {
					$ended = submit_as_current_user( $action, $nonce, $method, array( 'import' => '1' ) );
					check( in_array( $ended, 0 === $user ? array( 'nothing' ) : array( '403' ), true ), "$role with $what: $ended" );
					same( $state, $site->access_window(), "$role with $what" );
				}
			}
		}
		wp_set_current_user( $users['administrator'] );
		same( '303', submit_as_current_user( Settings_Page::OPEN, $nonces_of_administrator[ Settings_Page::OPEN ], 'POST', array( 'import' => '1' ) ), 'the administrator' );
		wp_set_current_user( 0 );
		$_SERVER['REQUEST_METHOD'] = 'GET';
	}
);

test(
	'REST shows nothing of the plugin to strangers, awake or asleep, and its routes exist for a POST to them',
	static function () use ( $site ) {
		$index = static function ( string $route, string $method, string $rest_route ) {
			$GLOBALS['wp_rest_server']  = null;
			$_SERVER['REQUEST_METHOD']  = $method;
			$_GET                       = array( 'rest_route' => $rest_route );
			$answer                     = rest_do_request( new WP_REST_Request( 'GET', $route ) );
			$text                       = (string) wp_json_encode( array( $answer->get_data(), array_keys( rest_get_server()->get_routes() ) ) );
			$GLOBALS['wp_rest_server']  = null;
			$_GET                       = array();
			$_SERVER['REQUEST_METHOD']  = 'GET';
			return $text;
		};
		$state = $site->access_window();
		foreach ( array( $state, str_replace( '"open_until":', '"open_until":1,"x":', $state ) ) as $stored ) {
			$site->sql( "UPDATE wp_wpclone_migrator SET value = '$stored' WHERE name = 'access_window'" );
			foreach ( array( '/', '/wpclone-migrator/v1', '/wp/v2/posts' ) as $route ) {
				foreach ( array( 'GET', 'POST', 'OPTIONS' ) as $method ) {
					check( false === strpos( $index( $route, $method, $route ), 'wpclone-migrator\\/v1"' ) || '/wpclone-migrator/v1' === $route, "$method $route" );
					check( false === strpos( $index( '/', $method, $route ), 'wpclone' ), "the index in a $method of $route" );
				}
			}
			check( false === strpos( $index( '/', 'GET', '/wpclone-migrator/v1/status' ), 'wpclone' ), 'a GET of a route' );
			check( false !== strpos( $index( '/', 'POST', '/wpclone-migrator/v1/status' ), 'wpclone-migrator\\/v1\\/status' ), 'a POST to a route' );
		}
		$site->sql( "UPDATE wp_wpclone_migrator SET value = '$state' WHERE name = 'access_window'" );
		same( true, Access_Window::load()->is_open( time() ), 'awake' );
	}
);

test(
	'pages do not name the plugin',
	static function () {
		ob_start();
		do_action( 'wp_head' );
		do_action( 'wp_footer' );
		check( false === stripos( (string) ob_get_clean(), 'wpclone' ), 'head and footer' );
	}
);
