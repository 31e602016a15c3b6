<?php
/**
 * Signatures of requests and of JSON responses. The protocol is described in crates/migrator/README.md of wpclone.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Signature {
	/** The signature of a request with this body digest. */
	public static function of_request( Request $request, string $digest, string $key ): string {
		return 'v1=' . self::mac( self::canonical_request( $request, $digest ), $key );
	}

	/** The signed text of a request: one part per line. */
	public static function canonical_request( Request $request, string $digest ): string {
		return implode(
			"\n",
			array(
				'wpclone-migrator-v1',
				$request->method,
				$request->route,
				'_=' . $request->unique,
				$request->timestamp,
				$request->nonce,
				$digest,
			)
		);
	}

	/** The signature of a JSON response: it shows that the response is ours, and belongs to this request. */
	public static function of_response( Request $request, string $key, int $status, string $body ): string {
		return 'v1=' . self::mac( "wpclone-migrator-response-v1\n{$request->route}\n{$request->nonce}\n$status\n" . bin2hex( Digest::sha256( $body ) ), $key );
	}

	private static function mac( string $text, string $key ): string {
		return hash_hmac( 'sha256', $text, (string) hex2bin( $key ) );
	}
}
