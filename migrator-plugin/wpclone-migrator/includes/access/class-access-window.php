<?php
/**
 * The access window: the key, until when it is valid, and whether import is enabled.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Access_Window {
	/** How long access stays enabled after the last request, in seconds. */
	const DURATION = 3600;

	/** How long after that the routes that only undo stay enabled, in seconds. */
	const UNDO_DURATION = 86400;

	/** The window is extended by at least so many seconds, so that frequent requests do not write every time. */
	const MIN_EXTENSION = 30;

	/** Attempts to save when others change the window at the same time. */
	const MAX_ATTEMPTS = 5;

	/** @var string|null The stored text. */
	private $stored;

	/** @var string 64 hex digits, or empty. */
	private $key = '';

	/** @var int Unix seconds. */
	private $open_until = 0;

	/** @var bool */
	private $import_enabled = false;

	/** @var string 64 hex digits that never leave the site, or empty. */
	private $index_secret = '';

	private function __construct( ?string $stored ) {
		$this->stored = $stored;
		$data         = json_decode( (string) $stored, true );
		if ( ! is_array( $data ) || ! isset( $data['key'] ) || ! is_string( $data['key'] ) ) {
			return;
		}
		// Anything but a complete key counts as no key: an empty or truncated one must never verify a signature.
		if ( 1 !== preg_match( '/\A[0-9a-f]{64}\z/', $data['key'] ) ) {
			return;
		}
		$this->key            = $data['key'];
		$this->open_until     = isset( $data['open_until'] ) ? (int) $data['open_until'] : 0;
		$this->import_enabled = isset( $data['import_enabled'] ) && true === $data['import_enabled'];
		$this->index_secret   = isset( $data['index_secret'] ) && is_string( $data['index_secret'] ) ? $data['index_secret'] : '';
	}

	/** The window as it is stored now. */
	public static function load(): self {
		return new self( State_Store::read_window() );
	}

	/** Whether there is a key, valid or expired. */
	public function has_key(): bool {
		return '' !== $this->key;
	}

	/** Whether signed requests are accepted. */
	public function is_open( int $now ): bool {
		return $this->has_key() && $now < $this->open_until;
	}

	/** The key, 64 hex digits, while the window is open; else null. */
	public function key( int $now ): ?string {
		return $this->is_open( $now ) ? $this->key : null;
	}

	/** The key for a route. */
	public function key_for( $route, int $now ): ?string {
		return $this->key( in_array( $route, Route_Table::UNDO, true ) ? $now - self::UNDO_DURATION : $now );
	}

	/** When the window closes, in Unix seconds; meaningful only while it is open. */
	public function open_until(): int {
		return $this->open_until;
	}

	/** Whether requests may write to the site. */
	public function import_enabled(): bool {
		return $this->import_enabled;
	}

	/** The secret for the tags of the file index. It is replaced with the key, and not derived from it. */
	public function index_secret(): string {
		return 1 === preg_match( '/\A[0-9a-f]{64}\z/', $this->index_secret ) ? $this->index_secret : '';
	}

	/** Opens the window; creates a new key unless the window is open already. False if it could not be stored. */
	public static function open( int $now, bool $import_enabled ): bool {
		if ( ! State_Store::create() ) {
			return false;
		}
		for ( $attempt = 0; $attempt < self::MAX_ATTEMPTS; $attempt++ ) {
			$window = self::load();
			$key    = $window->key( $now );
			if ( null === $key || '' === $window->index_secret() ) {
				$key                  = null === $key ? bin2hex( random_bytes( 32 ) ) : $key;
				$window->index_secret = bin2hex( random_bytes( 32 ) );
			}
			if ( $window->save( $key, $now + self::DURATION, $import_enabled ) ) {
				return true;
			}
		}
		return false;
	}

	/** Opens the window with a key and an end of our own, for imports too, whatever was stored. For the owner of a copy. */
	public static function open_with_key( string $key, int $open_until ): bool {
		if ( ! State_Store::create() ) {
			return false;
		}
		for ( $attempt = 0; $attempt < self::MAX_ATTEMPTS; $attempt++ ) {
			$window               = self::load();
			$window->index_secret = bin2hex( random_bytes( 32 ) );
			if ( $window->save( $key, $open_until, true ) ) {
				return true;
			}
		}
		return false;
	}

	/** Extends the window after a request. If another request extended it at the same time, that is enough. */
	public function extend( int $now ): void {
		if ( ! $this->is_open( $now ) || $now + self::DURATION - $this->open_until < self::MIN_EXTENSION ) {
			return;
		}
		if ( $this->save( $this->key, $now + self::DURATION, $this->import_enabled ) ) {
			$this->open_until = $now + self::DURATION;
		}
	}

	private function save( string $key, int $open_until, bool $import_enabled ): bool {
		$index_secret = $this->index_secret;
		$new          = (string) json_encode( compact( 'key', 'open_until', 'import_enabled', 'index_secret' ) );
		return $new === $this->stored || State_Store::compare_and_swap( $this->stored, $new );
	}
}
