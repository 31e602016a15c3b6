<?php
/**
 * Frames: reading those of a request, whose signature covers them, and writing those of a response, which an HMAC over all of
 * them follows.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Frame_Writer {
	/** The first bytes of every sequence of frames. */
	const MAGIC = 'WPCLONE1';

	/** The maximum payload of a frame. */
	const MAX_PAYLOAD_BYTES = 4194304;

	/** @var \HashContext */
	private $mac;

	/** @var callable Receives the bytes. */
	private $out;

	/** @var int */
	private $bytes_written = 0;

	public function __construct( string $key, string $route, string $nonce, callable $out ) {
		$this->mac = hash_init( 'sha256', HASH_HMAC, (string) hex2bin( $key ) );
		$this->out = $out;
		hash_update( $this->mac, "wpclone-migrator-frames-v1\n$route\n$nonce\n" );
		$this->write( self::MAGIC, self::MAGIC );
	}

	/** Bytes written so far. */
	public function bytes_written(): int {
		return $this->bytes_written;
	}

	/** Writes one frame. */
	public function write_frame( string $kind, string $payload ): void {
		if ( strlen( $payload ) > self::MAX_PAYLOAD_BYTES ) {
			throw new Migrator_Error( 'internal_error' );
		}
		$header = $kind . pack( 'N', strlen( $payload ) );
		$this->write( $header, $header );
		$this->write( $payload, Digest::sha256( $payload ) );
	}

	/** Writes one frame of JSON. */
	public function write_json( string $kind, array $value ): void {
		$this->write_frame( $kind, Json_Object::encode( $value ) );
	}

	/** Writes the last frame and the HMAC. */
	public function finish( array $value ): void {
		$this->write_json( 'E', $value );
		( $this->out )( hash_final( $this->mac, true ) );
	}

	/** Writes bytes; `$signed` is what the HMAC covers in their place. */
	private function write( string $bytes, string $signed ): void {
		hash_update( $this->mac, $signed );
		( $this->out )( $bytes );
		$this->bytes_written += strlen( $bytes );
	}
}

final class Frame_Reader {
	/**
	 * The frames of a stream in order: kind => payload.
	 *
	 * @param resource $stream
	 * @return \Generator<string, string>
	 */
	public static function read( $stream ): \Generator {
		if ( Frame_Writer::MAGIC !== self::read_exact( $stream, strlen( Frame_Writer::MAGIC ) ) ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		while ( true ) {
			$kind = fread( $stream, 1 );
			if ( false === $kind || '' === $kind ) {
				return;
			}
			$size = unpack( 'N', self::read_exact( $stream, 4 ) )[1];
			if ( $size > Frame_Writer::MAX_PAYLOAD_BYTES ) {
				throw Migrator_Error::bad_request( 'frames' );
			}
			yield $kind => self::read_exact( $stream, $size );
		}
	}

	/** @param resource $stream */
	private static function read_exact( $stream, int $size ): string {
		$bytes = 0 === $size ? '' : stream_get_contents( $stream, $size );
		if ( ! is_string( $bytes ) || strlen( $bytes ) !== $size ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		return $bytes;
	}
}
