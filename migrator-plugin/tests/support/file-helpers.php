<?php
/**
 * Exports and imports the files of a root through the plugin's routes.
 */

use Wpclone\Migrator\Json_Object;
use Wpclone\Migrator\Site_Roots;

/** A frame F; the root is a name or its position. */
function frame_f( $root, string $path, int $size, int $flags = 2, int $offset = 0, int $mode = 0644, int $mtime = 1700000000 ): array {
	return array( 'F', pack( 'CCnJJJ', is_int( $root ) ? $root : array_search( $root, Site_Roots::NAMES, true ), $flags, $mode, $size, $mtime, $offset ) . $path );
}

/** The contents of a folder: path => kind, mode, size, time, and the SHA-256 of files. */
function folder_contents( string $folder ): array {
	clearstatcache();
	$found = array();
	$walk  = new RecursiveIteratorIterator( new RecursiveDirectoryIterator( $folder, FilesystemIterator::SKIP_DOTS ), RecursiveIteratorIterator::SELF_FIRST );
	foreach ( $walk as $path => $info ) {
		$file = $info->isFile();
		$found[ substr( $path, strlen( $folder ) + 1 ) ] = array( $file ? 'f' : 'd', $info->getPerms() & 0777, $file ? $info->getSize() : 0, $file ? $info->getMTime() : 0, $file ? hash_file( 'sha256', $path ) : '' );
	}
	ksort( $found, SORT_STRING );
	return $found;
}

/** The index of a root: path => as above, with digest and tag. */
function export_index( Test_Site $site, string $root ): array {
	$found  = array();
	$cursor = null;
	do {
		$got = $site->request( 'index', array( 'root' => $root, 'cursor' => $cursor, 'digests' => true ) );
		check( 200 === $got->status && ! isset( $got->json['error'] ), 'index: ' . json_encode( $got->json ) );
		$cursor = $got->json['cursor'];
		foreach ( $got->frames as list( $kind, $payload ) ) {
			for ( $at = 0; 'I' === $kind && $at < strlen( $payload ); $at += 70 + $entry['length'] ) {
				$entry = unpack( 'akind/areason/nmode/Jsize/Jmtime/a32digest/a16tag/nlength', $payload, $at );
				$found[ substr( $payload, $at + 70, $entry['length'] ) ] = array( $entry['kind'], $entry['mode'], $entry['size'], 'f' === $entry['kind'] ? $entry['mtime'] : 0, $entry['digest'], $entry['tag'] );
			}
		}
	} while ( null !== $cursor );
	ksort( $found, SORT_STRING );
	return $found;
}

/** Requests the files of an index part by part, and stores each response with one request. */
function import_files( Test_Site $site, string $job, string $root, array $index, int $bytes ): void {
	$number = array_search( $root, Site_Roots::NAMES, true );
	$wanted = array();
	$frames = array();
	foreach ( $index as $path => list( $kind, $mode, $size, $mtime, , $tag ) ) {
		if ( 'd' === $kind ) {
			$frames[] = array( 'F', pack( 'CCnJJJ', $number, 1, $mode, 0, $mtime, 0 ) . $path );
		} else {
			$wanted[] = array( 'id' => Json_Object::base64url_encode( chr( $number ) . $tag . $path ), 'size' => $size, 'mtime' => $mtime );
			$paths[]  = array( $path, $mode );
		}
	}
	while ( $wanted ) {
		$got = $site->request( 'files', array( 'files' => $wanted, 'bytes' => $bytes ) );
		check( 200 === $got->status && ! isset( $got->json['error'] ), 'files: ' . json_encode( $got->json ) );
		foreach ( $got->frames as $i => list( $kind, $payload ) ) {
			if ( 'F' === $kind ) {
				$part = unpack( 'Nat/Cstate/Jsize/Jmtime/Joffset', $payload );
				same( 0, $part['state'], $paths[ $part['at'] ][0] );
				$data = array();
			} elseif ( 'D' === $kind ) {
				$data[] = array( 'D', $payload );
			} elseif ( 'G' === $kind ) {
				same( 0, unpack( 'Nat/Cstate', $payload )['state'], 'unchanged' );
				$last     = $part['offset'] + strlen( implode( '', array_column( $data, 1 ) ) ) === $part['size'];
				$frames[] = array( 'F', pack( 'CCnJJJ', $number, $last ? 2 : 0, $paths[ $part['at'] ][1], $part['size'], $part['mtime'], $part['offset'] ) . $paths[ $part['at'] ][0] );
				$frames   = array_merge( $frames, $data );
			}
		}
		$result = $site->request_ok( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), $frames ) );
		same( array(), $result['rejected'], 'refused' );
		$frames = array();
		$rest   = $got->json['file'] ?? null;
		$wanted = null === $rest ? array() : array_slice( $wanted, $rest );
		$paths  = null === $rest ? array() : array_slice( $paths, $rest );
		if ( $wanted ) {
			$wanted[0]['offset'] = $got->json['offset'];
		}
	}
}
