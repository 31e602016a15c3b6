<?php
/**
 * Frames: written as an answer, whose end proves it; and read from a request's body, which is signed.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Frames {
	/** What frames begin with. */
	const MAGIC = 'WPCLONE1';

	/** The most bytes that a frame's payload may have. */
	const MOST = 4194304;

	/** @var \HashContext */
	private $mac;

	/** @var callable Gets the bytes. */
	private $out;

	/** @var int Bytes written until now. */
	private $written = 0;

	public function __construct( string $key, string $route, string $nonce, callable $out ) {
		$this->mac = hash_init( 'sha256', HASH_HMAC, (string) hex2bin( $key ) );
		$this->out = $out;
		hash_update( $this->mac, "wpclone-migrator-frames-v1\n$route\n$nonce\n" );
		$this->write( self::MAGIC, self::MAGIC );
	}

	/** Bytes written until now. */
	public function written(): int {
		return $this->written;
	}

	/** Writes one frame. */
	public function frame( string $kind, string $payload ): void {
		if ( strlen( $payload ) > self::MOST ) {
			throw new Trouble( 'failed' );
		}
		$head = $kind . pack( 'N', strlen( $payload ) );
		$this->write( $head, $head );
		$this->write( $payload, Sha::of( $payload ) );
	}

	/** A frame that holds JSON. */
	public function json( string $kind, array $value ): void {
		$this->frame( $kind, Json::text( $value ) );
	}

	/** The last frame and the proof. */
	public function end( array $value ): void {
		$this->json( 'E', $value );
		( $this->out )( hash_final( $this->mac, true ) );
	}

	/** Writes bytes, and has the proof tell of them by what stands for them. */
	private function write( string $bytes, string $proven ): void {
		hash_update( $this->mac, $proven );
		( $this->out )( $bytes );
		$this->written += strlen( $bytes );
	}

	/**
	 * The frames of a body, one after the other: kind => payload.
	 *
	 * @param resource $stream
	 * @return \Generator<string, string>
	 */
	public static function read( $stream ): \Generator {
		if ( self::MAGIC !== self::take( $stream, strlen( self::MAGIC ) ) ) {
			throw Trouble::bad( 'frames' );
		}
		while ( true ) {
			$kind = fread( $stream, 1 );
			if ( false === $kind || '' === $kind ) {
				return;
			}
			$size = unpack( 'N', self::take( $stream, 4 ) )[1];
			if ( $size > self::MOST ) {
				throw Trouble::bad( 'frames' );
			}
			yield $kind => self::take( $stream, $size );
		}
	}

	/** @param resource $stream */
	private static function take( $stream, int $size ): string {
		$bytes = 0 === $size ? '' : stream_get_contents( $stream, $size );
		if ( ! is_string( $bytes ) || strlen( $bytes ) !== $size ) {
			throw Trouble::bad( 'frames' );
		}
		return $bytes;
	}
}
