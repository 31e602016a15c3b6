<?php
/**
 * An answer: JSON with its proof, or frames that are made while they are sent.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Answer {
	/** @var int */
	public $status;

	/** @var string Text of JSON; empty where there are frames. */
	public $body = '{}';

	/** @var string|null The proof of the JSON. */
	public $proof = null;

	/** @var callable|null Gets a function that takes bytes. */
	private $frames = null;

	private function __construct( int $status ) {
		$this->status = $status;
	}

	/** 403, and nothing else. */
	public static function refusal(): self {
		return new self( 403 );
	}

	/** JSON that is proven. */
	public static function json( Request $request, string $key, int $status, array $members ): self {
		$answer        = new self( $status );
		$answer->body  = Json::text( $members );
		$answer->proof = Gate::proof( $request, $key, $status, $answer->body );
		return $answer;
	}

	/** JSON that is proven: the members that `$made` gives, and the memory that it took. */
	public static function measured( Request $request, string $key, callable $made ): self {
		$idle    = self::idle();
		$members = $made();
		return self::json( $request, $key, 200, $members + self::memory( $idle ) );
	}

	/** Bytes of memory at this moment; from now on the peak is counted anew, where PHP can do that. */
	private static function idle(): int {
		if ( function_exists( 'memory_reset_peak_usage' ) ) {
			memory_reset_peak_usage();
		}
		return memory_get_usage();
	}

	private static function memory( int $idle ): array {
		return array(
			'idle' => $idle,
			'peak' => memory_get_peak_usage(),
		);
	}

	/** Frames: `$made` writes them and gives the members of the last one. */
	public static function frames( Request $request, string $key, callable $made ): self {
		$answer         = new self( 200 );
		$answer->frames = static function ( callable $out ) use ( $request, $key, $made ) {
			$begun  = microtime( true );
			$idle   = self::idle();
			$frames = new Frames( $key, $request->route, $request->nonce, $out );
			try {
				$end = $made( $frames );
			} catch ( \Throwable $thrown ) {
				$end = Trouble::told( $thrown );
			}
			$frames->end( $end + array( 'ms' => (int) ( 1000 * ( microtime( true ) - $begun ) ) ) + self::memory( $idle ) );
		};
		return $answer;
	}

	/** What is sent besides the status. */
	public function headers(): array {
		return array(
			'Content-Type'           => null === $this->frames ? 'application/json; charset=UTF-8' : 'application/octet-stream',
			'Cache-Control'          => 'no-store',
			'X-Content-Type-Options' => 'nosniff',
			'X-Robots-Tag'           => 'noindex',
		) + ( null === $this->proof ? array() : array( 'X-Wpclone-Proof' => $this->proof ) );
	}

	/** Hands the body out. */
	public function write( callable $out ): void {
		if ( null === $this->frames ) {
			$out( $this->body );
		} else {
			( $this->frames )( $out );
		}
	}
}
