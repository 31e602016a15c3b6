<?php
/**
 * Reads the frames of a request's body. The signature of the request covers them.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
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
