<?php
/**
 * The budget of one request: the length of its response, and time.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Request_Budget {
	const MIN_BYTES     = 16384;
	const MAX_BYTES     = 8388608;
	const DEFAULT_BYTES = 262144;

	/** @var int */
	private $bytes;

	/** @var float Seconds, as microtime() counts them. */
	private $deadline;

	/** @var int Calls of deadline_passed_sampled(); every 16th reads the clock. */
	private $checks = 0;

	/** @var bool Whether the deadline was seen to have passed. */
	private $passed = false;

	public function __construct( Json_Object $body ) {
		$this->bytes    = $body->get_int( 'bytes', self::MIN_BYTES, self::MAX_BYTES, self::DEFAULT_BYTES );
		$ms             = min( $body->get_int( 'ms', 50, 60000, 3000 ), self::max_ms() );
		$this->deadline = microtime( true ) + $ms / 1000;
	}

	/** The longest time that a request may ask for, in milliseconds: half of PHP's time limit, at most 20 s. */
	public static function max_ms(): int {
		$allowed = (int) ini_get( 'max_execution_time' );
		return $allowed <= 0 ? 20000 : max( 1000, min( 20000, $allowed * 500 ) );
	}

	/** Whether a response of this length, or the time that has passed, uses the budget up. */
	public function is_exhausted( int $bytes ): bool {
		return $bytes >= $this->bytes || $this->deadline_passed_sampled();
	}

	/** How many more bytes a response of this length may get. */
	public function bytes_left( int $bytes ): int {
		return max( 0, $this->bytes - $bytes );
	}

	/** Whether the deadline has passed, reading the clock only on every 16th call. For tight loops. */
	public function deadline_passed_sampled(): bool {
		if ( ! $this->passed && 0 === ( $this->checks++ & 15 ) ) {
			$this->passed = microtime( true ) >= $this->deadline;
		}
		return $this->passed;
	}

	/** Whether the deadline has passed. */
	public function deadline_passed(): bool {
		$this->passed = $this->passed || microtime( true ) >= $this->deadline;
		return $this->passed;
	}
}
