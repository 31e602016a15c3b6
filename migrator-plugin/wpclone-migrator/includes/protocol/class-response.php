<?php
/**
 * A response: signed JSON, or frames that are produced while they are sent.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Response {
	/** @var int */
	public $status;

	/** @var string The JSON text; unused if there are frames. */
	public $body = '{}';

	/** @var string|null The signature of the JSON. */
	public $signature = null;

	/** @var callable|null Writes frames to a function that takes bytes. */
	private $frames = null;

	private function __construct( int $status ) {
		$this->status = $status;
	}

	/** 403 without a reason. */
	public static function forbidden(): self {
		return new self( 403 );
	}

	/** Signed JSON. */
	public static function json( Request $request, string $key, int $status, array $fields ): self {
		$response            = new self( $status );
		$response->body      = Json_Object::encode( $fields );
		$response->signature = Signature::of_response( $request, $key, $status, $response->body );
		return $response;
	}

	/** Signed JSON: the fields that `$handler` returns, and the memory that it used. */
	public static function json_with_memory( Request $request, string $key, callable $handler ): self {
		$baseline = self::reset_peak();
		$fields   = $handler();
		return self::json( $request, $key, 200, $fields + self::memory( $baseline ) );
	}

	/** Resets the peak of memory, where PHP can do that (8.2); returns the memory in use. */
	private static function reset_peak(): int {
		if ( function_exists( 'memory_reset_peak_usage' ) ) {
			memory_reset_peak_usage();
		}
		return memory_get_usage();
	}

	private static function memory( int $baseline ): array {
		return array(
			'memory' => array(
				'baseline' => $baseline,
				'peak'     => memory_get_peak_usage(),
			),
		);
	}

	/** Frames: `$handler` writes them and returns the fields of the last one. */
	public static function frames( Request $request, string $key, callable $handler ): self {
		$response         = new self( 200 );
		$response->frames = static function ( callable $out ) use ( $request, $key, $handler ) {
			$started  = microtime( true );
			$baseline = self::reset_peak();
			$frames   = new Frame_Writer( $key, $request->route, $request->nonce, $out );
			try {
				$end = $handler( $frames );
			} catch ( \Throwable $thrown ) {
				$end = Migrator_Error::describe( $thrown );
			}
			$frames->finish( $end + array( 'duration_ms' => (int) ( 1000 * ( microtime( true ) - $started ) ) ) + self::memory( $baseline ) );
		};
		return $response;
	}

	/** The headers of the response. */
	public function headers(): array {
		return array(
			'Content-Type'           => null === $this->frames ? 'application/json; charset=UTF-8' : 'application/octet-stream',
			'Cache-Control'          => 'no-store',
			'X-Content-Type-Options' => 'nosniff',
			'X-Robots-Tag'           => 'noindex',
		) + ( null === $this->signature ? array() : array( 'X-Wpclone-Response-Signature' => $this->signature ) );
	}

	/** Writes the body to a function that takes bytes. */
	public function send( callable $out ): void {
		if ( null === $this->frames ) {
			$out( $this->body );
		} else {
			( $this->frames )( $out );
		}
	}
}
