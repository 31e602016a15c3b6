<?php
/**
 * Parts of files, by the ids that the index gave.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Files {
	/** Bytes of a frame. */
	const FRAME = 262144;

	/** The most files in one request. */
	const MOST = 4096;

	const GOOD       = 0;
	const CHANGED    = 1;
	const GONE       = 2;
	const UNREADABLE = 3;
	const REFUSED    = 4;

	/** The route `files`. */
	public static function send( Json $body, Frames $out, State $state ): array {
		$budget = new Budget( $body );
		foreach ( $body->items( 'files', self::MOST ) as $at => $wanted ) {
			if ( ! is_array( $wanted ) ) {
				throw Trouble::bad( 'files' );
			}
			$wanted = new Json( $wanted );
			$offset = $wanted->number( 'offset', 0, PHP_INT_MAX, 0 );
			if ( $at > 0 && ( $budget->used( $out->written() ) || $budget->late_now() ) ) {
				return array(
					'cursor' => null,
					'file'   => $at,
					'offset' => $offset,
				);
			}
			$stopped = self::part( $at, $wanted, $offset, $budget, $out, $state->secret() );
			if ( null !== $stopped ) {
				return array(
					'cursor' => null,
					'file'   => $at,
					'offset' => $stopped,
				);
			}
		}
		return array( 'cursor' => null );
	}

	/** Sends what the budget allows of one file; the offset to go on at, or null at its end. */
	private static function part( int $at, Json $wanted, int $offset, Budget $budget, Frames $out, string $secret ): ?int {
		$full = self::path( $wanted->text_of( 'id', '/\A.{1,960}\z/' ), $secret );
		if ( null === $full ) {
			self::begin( $out, $at, self::REFUSED, array(), 0 );
			return null;
		}
		clearstatcache( true, $full );
		if ( ! is_file( $full ) ) {
			self::begin( $out, $at, self::GONE, array(), 0 );
			return null;
		}
		$handle = @fopen( $full, 'rb' );
		if ( false === $handle ) {
			self::begin( $out, $at, self::UNREADABLE, array(), 0 );
			return null;
		}
		$stat = fstat( $handle );
		if ( ( $wanted->has( 'size' ) && $wanted->any( 'size' ) !== $stat['size'] ) || ( $wanted->has( 'mtime' ) && $wanted->any( 'mtime' ) !== $stat['mtime'] ) || $offset > $stat['size'] ) {
			fclose( $handle );
			self::begin( $out, $at, self::CHANGED, $stat, $offset );
			return null;
		}
		self::begin( $out, $at, self::GOOD, $stat, $offset );
		fseek( $handle, $offset );
		$state = self::GOOD;
		$first = true;
		while ( $offset < $stat['size'] && ( $first || ! ( $budget->used( $out->written() ) || $budget->late_now() ) ) ) {
			$first = false;
			$bytes = stream_get_contents( $handle, (int) min( self::FRAME, $stat['size'] - $offset ) );
			if ( ! is_string( $bytes ) || '' === $bytes ) {
				$state = self::CHANGED;
				break;
			}
			$out->frame( 'D', $bytes );
			$offset += strlen( $bytes );
		}
		fclose( $handle );
		clearstatcache( true, $full );
		$now = @stat( $full );
		if ( ! is_array( $now ) || array( $now['size'], $now['mtime'], $now['ino'] ) !== array( $stat['size'], $stat['mtime'], $stat['ino'] ) ) {
			$state = self::CHANGED;
		}
		$out->frame( 'G', pack( 'NC', $at, $state ) );
		return self::GOOD === $state && $offset < $stat['size'] ? $offset : null;
	}

	private static function begin( Frames $out, int $at, int $state, array $stat, int $offset ): void {
		$out->frame( 'F', pack( 'NCJJJ', $at, $state, $stat['size'] ?? 0, $stat['mtime'] ?? 0, $offset ) );
	}

	/** Where the file of an id is; null if the id is none, or what it names does not travel. */
	private static function path( string $id, string $secret ): ?string {
		$bytes = Json::from64( $id, 'id' );
		$root  = Roots::NAMES[ ord( $bytes[0] ?? "\xff" ) ] ?? null;
		$path  = (string) substr( $bytes, 17 );
		if ( null === $root || '' === $path || ! hash_equals( Index::tag( $secret, $root, $path ), substr( $bytes, 1, 16 ) ) ) {
			return null;
		}
		$names  = Roots::names( $path );
		$folder = Roots::all()[ $root ];
		if ( null === $names || null === $folder || ! Roots::names_travel( $root, $names, false ) ) {
			return null;
		}
		$real = realpath( "$folder/$path" );
		// A link may have been put in the way since: what it leads to has to be one of the files that travel.
		if ( is_string( $real ) && "$folder/$path" !== $real && ! Roots::travels( $real ) ) {
			return null;
		}
		return "$folder/$path";
	}
}
