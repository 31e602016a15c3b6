<?php
/**
 * Signatures of requests: test vectors shared with the Rust side, and everything that must be rejected.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Request;
use Wpclone\Migrator\Signature;

$vectors = json_decode( (string) file_get_contents( __DIR__ . '/../../../fixtures/migrator/signing.json' ), true );

foreach ( $vectors as $vector ) {
	test(
		'the test vector holds: ' . $vector['name'],
		static function () use ( $vector ) {
			$now    = $vector['timestamp'];
			$fields = array(
				'method'    => 'POST',
				'route'     => $vector['route'],
				'unique'    => $vector['unique'],
				'timestamp' => (string) $now,
				'nonce'     => $vector['nonce'],
				'signature' => $vector['signature'],
				'body'      => (string) hex2bin( $vector['body_hex'] ),
			);
			same( $vector['canonical'], Signature::canonical_request( new Request( $fields ), hash( 'sha256', $fields['body'] ) ), 'canonical text' );
			store_state( (string) json_encode( array( 'key' => $vector['key'], 'open_until' => $now + 1, 'import_enabled' => false ) ) );
			check( is_authenticated( $fields, $now ), 'admitted' );
		}
	);
}

test(
	'a genuine request is accepted once',
	static function () {
		$fields = signed_request( open_window() );
		check( is_authenticated( $fields ), 'the first time' );
		check( ! is_authenticated( $fields ), 'replayed at once' );
		check( ! is_authenticated( $fields, NOW + 299 ), 'replayed later' );
		check( ! is_authenticated( $fields, NOW + 5000 ), 'replayed when the nonce is forgotten' );
	}
);

test(
	'a nonce is not accepted again with another timestamp',
	static function () {
		$key   = open_window();
		$nonce = str_repeat( 'a', 32 );
		check( is_authenticated( signed_request( $key, array( 'nonce' => $nonce ) ) ), 'the first time' );
		check( ! is_authenticated( signed_request( $key, array( 'nonce' => $nonce, 'timestamp' => (string) ( NOW + 5 ) ) ) ), 'again' );
	}
);

test(
	'timestamps may differ by five minutes at most',
	static function () {
		$key = open_window();
		foreach ( array( -301 => false, -300 => true, 300 => true, 301 => false ) as $off => $passes ) {
			same( $passes, is_authenticated( signed_request( $key, array( 'timestamp' => (string) ( NOW + $off ) ) ) ), "$off s" );
		}
	}
);

test(
	'a malformed part is rejected although the signature is correct',
	static function () {
		global $wpdb;
		$key   = open_window();
		$wrong = array(
			'method'    => array( '', 'GET', 'post', 'PUT', "POST\n" ),
			'route'     => array( '', 'Status', '../status', 'status/', "status\n", str_repeat( 'a', 33 ), array( 'status' ) ),
			'unique'    => array( '', '0', str_repeat( 'A', 32 ), str_repeat( '0', 33 ), str_repeat( '0', 32 ) . "\n", array( 'a' ) ),
			'timestamp' => array( '', '0', '-' . NOW, '+' . NOW, NOW . '.0', '1e9', '0' . NOW, ' ' . NOW, NOW . "\n", '99999999999', NOW ),
			'nonce'     => array( '', 'a', str_repeat( 'G', 32 ), str_repeat( 'F', 32 ), str_repeat( '0', 64 ), str_repeat( '0', 32 ) . "\n", null ),
			'body'      => array( str_repeat( ' ', Request::MAX_JSON_BYTES + 1 ) ),
		);
		foreach ( $wrong as $field => $values ) {
			foreach ( $values as $value ) {
				$fields = array( $field => $value );
				check( ! is_authenticated( signed_request( $key, $fields ) ), "$field " . substr( var_export( $value, true ), 0, 50 ) );
			}
		}
		same( array( 'access_window' ), $wpdb->names(), 'rows after refusals' );
		check( is_authenticated( signed_request( $key, array( 'body' => str_repeat( ' ', Request::MAX_JSON_BYTES ) ) ) ), 'the largest body' );
	}
);

test(
	'an empty, truncated, extended or reformatted signature, or one with another key, is rejected',
	static function () {
		$key  = open_window();
		$good = signed_request( $key )['signature'];
		$hex  = substr( $good, 3 );
		foreach ( array( '', 'v1=', 'v1', $hex, "v2=$hex", "V1=$hex", substr( $good, 0, -1 ), "{$good}0", "$good\n", strtoupper( $good ), 'v1=' . str_repeat( '0', 64 ), null, array( $good ) ) as $signature ) {
			$fields = array_merge( signed_request( $key ), array( 'signature' => $signature ) );
			check( ! is_authenticated( $fields ), var_export( $signature, true ) );
		}
		foreach ( array( '', '00', str_repeat( '0', 64 ), strrev( $key ) ) as $other ) {
			check( ! is_authenticated( signed_request( $other ) ), "signed with the key $other" );
		}
	}
);

test(
	'changing any part of a genuine request makes it invalid (2,000 random changes)',
	static function () {
		global $wpdb;
		$key  = open_window();
		$seed = random_int( 0, PHP_INT_MAX >> 33 );
		mt_srand( $seed );
		for ( $round = 0; $round < 2000; $round++ ) {
			$good  = signed_request( $key, array( 'body' => bin2hex( random_bytes( mt_rand( 1, 20 ) ) ) ) );
			$names = array_keys( $good );
			$name  = $names[ mt_rand( 0, count( $names ) - 1 ) ];
			$bad   = array_merge( $good, array( $name => changed( $good[ $name ] ) ) );
			check( ! is_authenticated( $bad ), "seed $seed round $round: $name " . json_encode( $bad[ $name ] ) );
		}
		same( array( 'access_window' ), $wpdb->names(), 'rows after refusals' );
		check( is_authenticated( $good ), 'the last one as it was' );
	}
);

/** A different string. */
function changed( string $text ): string {
	$at = mt_rand( 0, strlen( $text ) - 1 );
	switch ( mt_rand( 0, 5 ) ) {
		case 0:
			return '';
		case 1:
			return substr( $text, 0, $at );
		case 2:
			return $text . chr( mt_rand( 0, 255 ) );
		case 3:
			return substr_replace( $text, $text[ $at ] . $text[ $at ], $at, 1 );
		default:
			return substr_replace( $text, chr( ord( $text[ $at ] ) ^ ( 1 << mt_rand( 0, 7 ) ) ), $at, 1 );
	}
}
