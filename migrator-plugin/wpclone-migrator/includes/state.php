<?php
/**
 * Key, window and import switch.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class State {
	/** How long the migrator stays open after its last use, in seconds. */
	const WINDOW = 3600;

	/** By so many seconds at least the window's end is pushed on, so that many requests do not write as often. */
	const SLACK = 30;

	/** How often a change is tried when others change the state at the same moment. */
	const TRIES = 5;

	/** @var string|null What the store held. */
	private $stored;

	/** @var string Empty, or 64 hex digits. */
	private $key = '';

	/** @var int Unix seconds. */
	private $opened_until = 0;

	/** @var bool */
	private $import = false;

	/** @var string Empty, or 64 hex digits that nobody is ever shown. */
	private $secret = '';

	private function __construct( ?string $stored ) {
		$this->stored = $stored;
		$data         = json_decode( (string) $stored, true );
		if ( ! is_array( $data ) || ! isset( $data['key'] ) || ! is_string( $data['key'] ) ) {
			return;
		}
		// Anything but a whole key means no key: an empty or cut one must never sign.
		if ( 1 !== preg_match( '/\A[0-9a-f]{64}\z/', $data['key'] ) ) {
			return;
		}
		$this->key          = $data['key'];
		$this->opened_until = isset( $data['opened_until'] ) ? (int) $data['opened_until'] : 0;
		$this->import       = isset( $data['import'] ) && true === $data['import'];
		$this->secret       = isset( $data['secret'] ) && is_string( $data['secret'] ) ? $data['secret'] : '';
	}

	/** The state as it is stored now. */
	public static function load(): self {
		return new self( Store::read() );
	}

	/** Whether a key was made and not forgotten; it may be asleep. */
	public function has_key(): bool {
		return '' !== $this->key;
	}

	/** Whether signed requests are answered. */
	public function is_open( int $now ): bool {
		return $this->has_key() && $now < $this->opened_until;
	}

	/** 64 hex digits while open, else null. */
	public function key( int $now ): ?string {
		return $this->is_open( $now ) ? $this->key : null;
	}

	/** Unix seconds; meaningful while open. */
	public function opened_until(): int {
		return $this->opened_until;
	}

	/** Whether content may be taken in. */
	public function import(): bool {
		return $this->import;
	}

	/** What tags of the index are made with: as old as the key, and not derived from it. */
	public function secret(): string {
		return 1 === preg_match( '/\A[0-9a-f]{64}\z/', $this->secret ) ? $this->secret : '';
	}

	/** Opens the window, with a new key unless it is open already. False if the store does not take it. */
	public static function open( int $now, bool $import ): bool {
		for ( $try = 0; $try < self::TRIES; $try++ ) {
			$state = self::load();
			$key   = $state->key( $now );
			if ( null === $key || '' === $state->secret() ) {
				$key           = null === $key ? bin2hex( random_bytes( 32 ) ) : $key;
				$state->secret = bin2hex( random_bytes( 32 ) );
			}
			if ( $state->change( $key, $now + self::WINDOW, $import ) ) {
				return true;
			}
		}
		return false;
	}

	/** Pushes the window's end on. Another request may have done it already, which is as good; so is half a minute less. */
	public function slide( int $now ): void {
		if ( $now + self::WINDOW - $this->opened_until < self::SLACK ) {
			return;
		}
		if ( $this->change( $this->key, $now + self::WINDOW, $this->import ) ) {
			$this->opened_until = $now + self::WINDOW;
		}
	}

	private function change( string $key, int $opened_until, bool $import ): bool {
		$secret = $this->secret;
		$new    = (string) json_encode( compact( 'key', 'opened_until', 'import', 'secret' ) );
		return $new === $this->stored || Store::swap( $this->stored, $new );
	}
}
