<?php
/**
 * Who may pass: the signature of a request, its time, and that it comes once.
 *
 * The protocol is described in crates/migrator/README.md of wpclone.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Gate {
	/** How far a request's time may be from ours, in seconds. */
	const CLOCK = 300;

	/** The form that each part of a request must have before anything is computed from it. */
	const FORMS = array(
		'method'    => '/\APOST\z/',
		'route'     => '/\A[a-z][a-z0-9-]{0,31}\z/',
		'unique'    => '/\A[0-9a-f]{32}\z/',
		'timestamp' => '/\A[1-9][0-9]{9}\z/',
		'nonce'     => '/\A[0-9a-f]{32}\z/',
		'signature' => '/\Av1=[0-9a-f]{64}\z/',
	);

	/**
	 * Whether a request is genuine; remembers its nonce and keeps the window open if so. It does not say why not.
	 */
	public static function admits( Request $request, State $state, int $now ): bool {
		$key = $state->key( $now );
		if ( null === $key ) {
			return false;
		}
		foreach ( self::FORMS as $name => $form ) {
			if ( 1 !== preg_match( $form, $request->$name ) ) {
				return false;
			}
		}
		$hash = $request->body_hash( Routes::takes_frames( $request->route ) ? Request::MOST_FRAMES : Request::MOST_JSON );
		if ( null === $hash ) {
			return false;
		}
		// First of all the signature: what is not signed reaches neither clock nor store.
		if ( ! hash_equals( 'v1=' . self::mac( self::canonical( $request, $hash ), $key ), $request->signature ) ) {
			return false;
		}
		$time = (int) $request->timestamp;
		if ( abs( $now - $time ) > self::CLOCK ) {
			return false;
		}
		if ( ! Store::remember( $request->nonce, $time, self::CLOCK, $now ) ) {
			return false;
		}
		$state->slide( $now );
		return true;
	}

	/** What is signed: one part a line. */
	public static function canonical( Request $request, string $hash ): string {
		return implode(
			"\n",
			array(
				'wpclone-migrator-v1',
				$request->method,
				$request->route,
				'_=' . $request->unique,
				$request->timestamp,
				$request->nonce,
				$hash,
			)
		);
	}

	/** What proves that an answer is ours, and to this request. */
	public static function proof( Request $request, string $key, int $status, string $body ): string {
		return 'v1=' . self::mac( "wpclone-migrator-answer-v1\n{$request->route}\n{$request->nonce}\n$status\n" . bin2hex( Sha::of( $body ) ), $key );
	}

	private static function mac( string $text, string $key ): string {
		return hash_hmac( 'sha256', $text, (string) hex2bin( $key ) );
	}
}
