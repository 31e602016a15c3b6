<?php
/**
 * Authenticates requests: signature, timestamp, and that a nonce is used only once.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Request_Authenticator {
	/** How far a request's timestamp may differ from our clock, in seconds. */
	const MAX_CLOCK_SKEW = 300;

	/** The pattern that each part of a request must match before anything is computed from it. */
	const PATTERNS = array(
		'method'    => '/\APOST\z/',
		'route'     => '/\A[a-z][a-z0-9-]{0,31}\z/',
		'unique'    => '/\A[0-9a-f]{32}\z/',
		'timestamp' => '/\A[1-9][0-9]{9}\z/',
		'nonce'     => '/\A[0-9a-f]{32}\z/',
		'signature' => '/\Av1=[0-9a-f]{64}\z/',
	);

	/** Whether a request is genuine. If so, its nonce is remembered and the access window extended. */
	public static function authenticate( Request $request, Access_Window $window, int $now ): bool {
		$key = $window->key_for( $request->route, $now );
		if ( null === $key ) {
			return false;
		}
		foreach ( self::PATTERNS as $name => $pattern ) {
			if ( 1 !== preg_match( $pattern, $request->$name ) ) {
				return false;
			}
		}
		$digest = $request->body_digest( Route_Table::accepts_frames( $request->route ) ? Request::MAX_FRAMES_BYTES : Request::MAX_JSON_BYTES );
		if ( null === $digest ) {
			return false;
		}
		// The signature comes first: unsigned requests reach neither the clock nor the nonces.
		if ( ! hash_equals( Signature::of_request( $request, $digest, $key ), $request->signature ) ) {
			return false;
		}
		$time = (int) $request->timestamp;
		if ( abs( $now - $time ) > self::MAX_CLOCK_SKEW ) {
			return false;
		}
		if ( ! State_Store::remember_nonce( $request->nonce, $time, self::MAX_CLOCK_SKEW, $now ) ) {
			return false;
		}
		$window->extend( $now );
		return true;
	}
}
