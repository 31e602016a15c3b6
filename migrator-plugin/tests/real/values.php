<?php
/**
 * A table's rows as the source hands them out, for tests: by the plugin's own route, so that both halves are seen to
 * fit. What is taken in is compared with what there was by SQL that is not the plugin's.
 */

/** Frames R and P of a whole table, chunk after chunk, with the digest of all rows. */
function chunks_of( Site $site, string $table, int $bytes = 262144 ): array {
	$chunks = array();
	$cursor = null;
	$digest = str_repeat( "\0", 32 );
	$rows   = 0;
	do {
		$got = $site->ask( 'rows', array( 'table' => $table, 'bytes' => $bytes, 'cursor' => $cursor ) );
		check( 200 === $got->status && ! isset( $got->json['error'] ), "rows of $table: " . json_encode( $got->json ) );
		$cursor   = $got->json['cursor'];
		$rows    += $got->json['rows'];
		$digest  ^= hex2bin( $got->json['digest'] );
		$chunks[] = array(
			'frames' => array_values( array_filter( $got->frames, static function ( $frame ) { return 'R' === $frame[0] || 'P' === $frame[0]; } ) ),
			'cursor' => $cursor,
		);
	} while ( null !== $cursor );
	return array( $chunks, $rows, bin2hex( $digest ) );
}

/** Definitions of the source, by name. */
function definitions( Site $site ): array {
	$found  = array();
	$cursor = null;
	do {
		$got    = $site->ask( 'definitions', array( 'cursor' => $cursor, 'bytes' => 1048576 ) );
		$cursor = $got->json['cursor'];
		foreach ( $got->frames as list( $kind, $payload ) ) {
			if ( 'T' === $kind ) {
				$definition = json_decode( $payload, true );
				$found[ $definition['kind'] . ' ' . $definition['name'] ] = $definition;
			}
		}
	} while ( null !== $cursor );
	return $found;
}

/** Sends a table's chunks; each request's answer goes to a function, if there is one. */
function send( Site $site, string $job, int $n, array $chunks, int $from = 1 ): array {
	$told = array();
	foreach ( $chunks as $i => $chunk ) {
		if ( $i + 1 >= $from ) {
			$told = $site->good( 'load-rows', Site::frames( chunk_head( $job, $n, $chunks, $i ), $chunk['frames'] ) );
		}
	}
	return $told;
}

function chunk_head( string $job, int $n, array $chunks, int $i ): array {
	return array(
		'job'    => $job,
		'table_id' => $n,
		'chunk' => $i + 1,
		'cursor' => $chunks[ $i ]['cursor'],
		'last'   => $i + 1 === count( $chunks ),
	);
}

/** Defines a table, sends its rows, and has them counted. */
function take_in( Site $site, string $job, array $definition, ?string $as = null, int $bytes = 262144 ): array {
	$source             = $definition['name'];
	$definition['name'] = $as ?? $source;
	$made               = $site->good( 'define', array( 'job' => $job, 'definition' => $definition ) );
	list( $chunks, $rows, $digest ) = chunks_of( $site, $source, $bytes );
	$told = send( $site, $job, $made['table_id'], $chunks );
	same( $rows, $told['rows'], "rows of $source" );
	$counted = array( 'rows' => 0, 'digest' => str_repeat( "\0", 32 ) );
	$cursor  = null;
	do {
		$part               = $site->good( 'checksum', array( 'job' => $job, 'table_id' => $made['table_id'], 'cursor' => $cursor ) );
		$counted['rows']   += $part['rows'];
		$counted['digest'] ^= hex2bin( $part['digest'] );
		$cursor             = $part['cursor'];
	} while ( null !== $cursor );
	same( array( $rows, $digest ), array( $counted['rows'], bin2hex( $counted['digest'] ) ), "digest of $source" );
	return $made + array( 'rows' => $rows );
}

/** A number for a job. */
function a_job(): string {
	return bin2hex( random_bytes( 16 ) );
}

/** SHOW CREATE TABLE without the name and what means nothing. */
function shape( Site $site, string $table ): string {
	$left_out = array( '/\ACREATE TABLE `[^`]*`/', '/ USING BTREE/', '/ ROW_FORMAT=FIXED/' );
	if ( ! $site->is_mariadb() ) {
		// Those that MySQL makes have the table's name in them.
		$left_out[] = '/CONSTRAINT `[^`]*` (?=CHECK)/';
	}
	return preg_replace( $left_out, '', $site->rows( "SHOW CREATE TABLE `$table`" )[0][1] );
}

/** The rows as hex, numbers as text, in an order that is the same for both. */
function bytes( Site $site, string $table ): array {
	$columns = array();
	foreach ( $site->rows( "SHOW COLUMNS FROM `$table`" ) as $row ) {
		$name      = '`' . str_replace( '`', '``', $row[0] ) . '`';
		$columns[] = 0 === strncmp( $row[1], 'bit', 3 ) ? "$name + 0" : "HEX(CONVERT($name" . ( 0 === strncmp( $row[1], 'float', 5 ) ? ' + 0e0' : '' ) . ' USING binary))';
	}
	return $site->rows( 'SELECT ' . implode( ',', $columns ) . " FROM `$table` ORDER BY " . implode( ',', range( 1, count( $columns ) ) ) );
}
