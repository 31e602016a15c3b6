<?php
/**
 * How much one request may do: bytes of its answer, and time.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Budget {
	/** Bytes of an answer: least, most, and what is meant where nothing is said. */
	const LEAST_BYTES = 16384;
	const MOST_BYTES  = 8388608;
	const BYTES       = 262144;

	/** @var int */
	private $bytes;

	/** @var float Seconds, as microtime() has them. */
	private $until;

	/** @var int How often time was asked for; the clock is looked at every 16th time. */
	private $asked = 0;

	/** @var bool */
	private $late = false;

	public function __construct( Json $wish ) {
		$this->bytes = $wish->number( 'bytes', self::LEAST_BYTES, self::MOST_BYTES, self::BYTES );
		$ms          = min( $wish->number( 'ms', 50, 60000, 3000 ), self::most_ms() );
		$this->until = microtime( true ) + $ms / 1000;
	}

	/** The most time that a request may ask for, in milliseconds: half of what PHP allows, at most 20 s. */
	public static function most_ms(): int {
		$allowed = (int) ini_get( 'max_execution_time' );
		return $allowed <= 0 ? 20000 : max( 1000, min( 20000, $allowed * 500 ) );
	}

	/** Whether so many bytes are enough, or the time is up. */
	public function used( int $bytes ): bool {
		return $bytes >= $this->bytes || $this->late();
	}

	/** Bytes that the answer may still have. */
	public function left( int $bytes ): int {
		return max( 0, $this->bytes - $bytes );
	}

	/** Whether the time is up. */
	public function late(): bool {
		if ( ! $this->late && 0 === ( $this->asked++ & 15 ) ) {
			$this->late = microtime( true ) >= $this->until;
		}
		return $this->late;
	}

	/** The same, by the clock of this very moment. */
	public function late_now(): bool {
		$this->late = $this->late || microtime( true ) >= $this->until;
		return $this->late;
	}
}
