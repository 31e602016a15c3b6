<?php
/**
 * Digests of strings and streams, chained for long content.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Digest;

/** A stream with this content. */
function stream_of( string $text ) {
	$stream = fopen( 'php://temp', 'w+b' );
	fwrite( $stream, $text );
	rewind( $stream );
	return $stream;
}

test(
	'short content has its SHA-256',
	static function () {
		foreach ( array( '', 'abc', "\0", str_repeat( 'a', 100000 ) ) as $text ) {
			same( hash( 'sha256', $text ), bin2hex( Digest::sha256( $text ) ), (string) strlen( $text ) );
			same( hash( 'sha256', $text ), bin2hex( (string) Digest::of_stream( stream_of( $text ), 100000 ) ), 'stream' );
		}
	}
);

test(
	'long content has a chained digest',
	static function () {
		$block = str_repeat( 'b', Digest::BLOCK_BYTES );
		$most  = 3 * Digest::BLOCK_BYTES;
		$link  = hash( 'sha256', hash( 'sha256', $block, true ), true );
		same( hash( 'sha256', $block ), bin2hex( (string) Digest::of_stream( stream_of( $block ), $most ) ), 'one block' );
		$two = hash( 'sha256', $link . hash( 'sha256', 'c', true ) );
		same( $two, bin2hex( (string) Digest::of_stream( stream_of( $block . 'c' ), $most ) ), 'a block and a byte' );
		$three = hash( 'sha256', hash( 'sha256', $link . hash( 'sha256', $block, true ), true ) . hash( 'sha256', $block, true ) );
		same( $three, bin2hex( (string) Digest::of_stream( stream_of( "$block$block$block" ), $most ) ), 'three blocks' );
	}
);

test(
	'content over the limit has no digest',
	static function () {
		$block = str_repeat( 'b', Digest::BLOCK_BYTES );
		foreach ( array( 'ab' => 1, $block => Digest::BLOCK_BYTES - 1, "$block$block" => 2 * Digest::BLOCK_BYTES - 1, "$block$block$block$block" => Digest::BLOCK_BYTES ) as $text => $most ) {
			same( null, Digest::of_stream( stream_of( $text ), $most ), (string) $most );
		}
	}
);
