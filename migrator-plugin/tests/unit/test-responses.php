<?php
/**
 * Responses and their signatures.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Frame_Writer;
use Wpclone\Migrator\Migrator_Error;
use Wpclone\Migrator\Request;
use Wpclone\Migrator\Response;
use Wpclone\Migrator\Route_Table;
use Wpclone\Migrator\Router;

/** Sends a request to the router. */
function respond( array $fields ): Response {
	return Router::respond( new Request( $fields ), NOW );
}

function body_of( Response $answer ): string {
	$all = '';
	$answer->send(
		static function ( string $bytes ) use ( &$all ) {
			$all .= $bytes;
		}
	);
	return $all;
}

test(
	'a genuine request gets a signed response, its replay an empty 403',
	static function () {
		global $wp_version;
		$wp_version = '6.1.9';
		$key        = open_window( NOW, true );
		$fields     = signed_request( $key );
		$answer     = respond( $fields );
		same( 200, $answer->status, 'status' );
		same( 'no-store', $answer->headers()['Cache-Control'], 'caching' );
		$text = "wpclone-migrator-response-v1\nstatus\n{$fields['nonce']}\n200\n" . hash( 'sha256', $answer->body );
		same( 'v1=' . hash_hmac( 'sha256', $text, hex2bin( $key ) ), $answer->headers()['X-Wpclone-Response-Signature'], 'signature' );
		$names = array( 'plugin_version', 'wordpress', 'php', 'import_enabled', 'open_until', 'site_url', 'home_url', 'multisite' );
		$data  = json_decode( $answer->body, true );
		same( $names, array_keys( $data ), 'members' );
		same( array( '6.1.9', PHP_VERSION, true ), array( $data['wordpress'], $data['php'], $data['import_enabled'] ), 'values' );
		check( false === strpos( $answer->body, $key ), 'the answer has the key in it' );

		$again = respond( $fields );
		same( array( 403, '{}', null ), array( $again->status, $again->body, $again->signature ), 'replay' );
	}
);

test(
	'a request signed for another route is rejected',
	static function () {
		$fields = signed_request( open_window(), array( 'route' => 'other' ) );
		same( 403, respond( array( 'route' => 'status' ) + $fields )->status, 'status' );
		same( 404, respond( $fields )->status, 'the route that there is not' );
	}
);

test(
	'import routes are rejected like unauthenticated requests while import is disabled',
	static function () {
		foreach ( Route_Table::IMPORT_ONLY as $route => $for_import ) {
			if ( $for_import ) {
				$answer = respond( signed_request( open_window(), array( 'route' => $route ) ) );
				same( array( 403, '{}' ), array( $answer->status, $answer->body ), $route );
			}
		}
	}
);

test(
	'frames end with an HMAC of all frames',
	static function () {
		$key    = open_window();
		$fields = signed_request( $key, array( 'route' => 'rows' ) );
		$all    = body_of(
			Response::frames(
				new Request( $fields ),
				$key,
				static function ( Frame_Writer $out ) {
					$out->write_frame( 'R', 'abc' );
					return array( 'cursor' => null );
				}
			)
		);
		same( "WPCLONE1R\0\0\0\3abcE", substr( $all, 0, 17 ), 'frames' );
		$result = "WPCLONE1R\0\0\0\3" . hash( 'sha256', 'abc', true ) . substr( $all, 16, 5 ) . hash( 'sha256', substr( $all, 21, -32 ), true );
		$mac  = hash_hmac( 'sha256', "wpclone-migrator-frames-v1\nrows\n{$fields['nonce']}\n$result", hex2bin( $key ), true );
		same( bin2hex( $mac ), bin2hex( substr( $all, -32 ) ), 'signature' );
		$end = json_decode( substr( $all, 21, -32 ), true );
		same( array( 'cursor', 'duration_ms', 'memory' ), array_keys( $end ), 'members of the end' );
	}
);

test(
	'errors consist of a code and an id, without a message',
	static function () {
		$key  = open_window();
		$seen = array();
		ini_set( 'error_log', '/dev/null' );
		foreach ( array( new Migrator_Error( 'busy' ), new RuntimeException( 'secret-canary' ), new Error( 'secret-canary' ) ) as $thrown ) {
			$all = body_of(
				Response::frames(
					new Request( signed_request( $key ) ),
					$key,
					static function () use ( $thrown ) {
						throw $thrown;
					}
				)
			);
			check( false === strpos( $all, 'canary' ), 'a message of PHP is in the answer' );
			$end    = json_decode( substr( $all, 13, -32 ), true );
			$seen[] = $end['error'];
			check( 1 === preg_match( '/\A[0-9a-f]{8}\z/', $end['id'] ), 'id' );
		}
		same( array( 'busy', 'internal_error', 'internal_error' ), $seen, 'codes' );
	}
);

test(
	'incomplete, oversized or missing frames are bad requests',
	static function () {
		foreach ( array( '', 'WPCLONE', 'WPCLONE2', 'WPCLONE1R', "WPCLONE1R\0\0\0", "WPCLONE1R\0\0\0\4abc", "WPCLONE1R\xff\xff\xff\xff", "WPCLONE1R\0\x40\0\1" ) as $body ) {
			try {
				iterator_to_array( ( new Request( array( 'body' => $body ) ) )->frames(), false );
			} catch ( Migrator_Error $e ) {
				same( 'bad_request', $e->error_code, bin2hex( $body ) );
				continue;
			}
			throw new RuntimeException( 'taken: ' . bin2hex( $body ) );
		}
		$read = array();
		foreach ( ( new Request( array( 'body' => "WPCLONE1J\0\0\0\2{}R\0\0\0\0" ) ) )->frames() as $kind => $payload ) {
			$read[] = $kind . $payload;
		}
		same( array( 'J{}', 'R' ), $read, 'frames' );
	}
);
