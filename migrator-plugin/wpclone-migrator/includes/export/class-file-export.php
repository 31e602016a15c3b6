<?php
/**
 * The route `files`: parts of files, requested by the ids of the index.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class File_Export {
	/** The length of a frame. */
	const FRAME_BYTES = 262144;

	/** The maximum number of files per request. */
	const MAX_FILES = 4096;

	const OK         = 0;
	const CHANGED    = 1;
	const MISSING    = 2;
	const UNREADABLE = 3;
	const REJECTED   = 4;

	/** Writes the requested files as frames F, D and G. */
	public static function send( Json_Object $body, Frame_Writer $out, string $index_secret ): array {
		$budget = new Request_Budget( $body );
		foreach ( $body->get_list( 'files', self::MAX_FILES ) as $at => $requested ) {
			if ( ! is_array( $requested ) ) {
				throw Migrator_Error::bad_request( 'files' );
			}
			$requested = new Json_Object( $requested );
			$offset    = $requested->get_int( 'offset', 0, PHP_INT_MAX, 0 );
			if ( $at > 0 && ( $budget->is_exhausted( $out->bytes_written() ) || $budget->deadline_passed() ) ) {
				return array(
					'cursor' => null,
					'file'   => $at,
					'offset' => $offset,
				);
			}
			$next_offset = self::send_part( $at, $requested, $offset, $budget, $out, $index_secret );
			if ( null !== $next_offset ) {
				return array(
					'cursor' => null,
					'file'   => $at,
					'offset' => $next_offset,
				);
			}
		}
		return array( 'cursor' => null );
	}

	/** Sends as much of a file as the budget allows; returns the offset to continue at, or null at the end. */
	private static function send_part( int $at, Json_Object $requested, int $offset, Request_Budget $budget, Frame_Writer $out, string $secret ): ?int {
		$full = self::path_of_id( $requested->get_string( 'id', '/\A.{1,960}\z/' ), $secret );
		if ( null === $full ) {
			self::write_header( $out, $at, self::REJECTED, array(), 0 );
			return null;
		}
		clearstatcache( true, $full );
		if ( ! is_file( $full ) ) {
			self::write_header( $out, $at, self::MISSING, array(), 0 );
			return null;
		}
		$handle = @fopen( $full, 'rb' );
		if ( false === $handle ) {
			self::write_header( $out, $at, self::UNREADABLE, array(), 0 );
			return null;
		}
		$stat = fstat( $handle );
		if ( ( $requested->has( 'size' ) && $requested->get( 'size' ) !== $stat['size'] ) || ( $requested->has( 'mtime' ) && $requested->get( 'mtime' ) !== $stat['mtime'] ) || $offset > $stat['size'] ) {
			fclose( $handle );
			self::write_header( $out, $at, self::CHANGED, $stat, $offset );
			return null;
		}
		self::write_header( $out, $at, self::OK, $stat, $offset );
		fseek( $handle, $offset );
		$status = self::OK;
		$first  = true;
		while ( $offset < $stat['size'] && ( $first || ! ( $budget->is_exhausted( $out->bytes_written() ) || $budget->deadline_passed() ) ) ) {
			$first = false;
			$bytes = stream_get_contents( $handle, (int) min( self::FRAME_BYTES, $stat['size'] - $offset ) );
			if ( ! is_string( $bytes ) || '' === $bytes ) {
				$status = self::CHANGED;
				break;
			}
			$out->write_frame( 'D', $bytes );
			$offset += strlen( $bytes );
		}
		fclose( $handle );
		clearstatcache( true, $full );
		$now = @stat( $full );
		if ( ! is_array( $now ) || array( $now['size'], $now['mtime'], $now['ino'] ) !== array( $stat['size'], $stat['mtime'], $stat['ino'] ) ) {
			$status = self::CHANGED;
		}
		$out->write_frame( 'G', pack( 'NC', $at, $status ) );
		return self::OK === $status && $offset < $stat['size'] ? $offset : null;
	}

	private static function write_header( Frame_Writer $out, int $at, int $status, array $stat, int $offset ): void {
		$out->write_frame( 'F', pack( 'NCJJJ', $at, $status, $stat['size'] ?? 0, $stat['mtime'] ?? 0, $offset ) );
	}

	/** The path of an id; null if the id is invalid or the file is excluded. */
	private static function path_of_id( string $id, string $secret ): ?string {
		$bytes = Json_Object::base64url_decode( $id, 'id' );
		$root  = Site_Roots::NAMES[ ord( $bytes[0] ?? "\xff" ) ] ?? null;
		$path  = (string) substr( $bytes, 17 );
		if ( null === $root || '' === $path || ! hash_equals( File_Index::tag( $secret, $root, $path ), substr( $bytes, 1, 16 ) ) ) {
			return null;
		}
		$names  = Site_Roots::path_segments( $path );
		$folder = Site_Roots::folders()[ $root ];
		if ( null === $names || null === $folder || ! Site_Roots::is_exportable_path( $root, $names, false ) ) {
			return null;
		}
		$real = realpath( "$folder/$path" );
		// A link may have been created since the index was made.
		if ( is_string( $real ) && "$folder/$path" !== $real && ! Site_Roots::follows_links( $root, $names ) ) {
			return null;
		}
		return Site_Roots::is_configuration( "$folder/$path" ) ? null : "$folder/$path";
	}
}
