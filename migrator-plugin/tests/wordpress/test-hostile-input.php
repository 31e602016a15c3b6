<?php
/**
 * Rows that are not what their columns are, from a source that signs them: the database converts them, which the checksum
 * tells, or they are rejected with a code. Nothing of it is a PHP error.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

$site->load_plugin();
$json = $site->is_mariadb() ? "LONGTEXT NOT NULL CHECK (json_valid(`j`))" : 'JSON NOT NULL';
$site->sql( "CREATE TABLE wp_typed (id INT NOT NULL PRIMARY KEY, n TINYINT UNSIGNED NOT NULL, d DATE NOT NULL, e ENUM('a','b') NOT NULL, j $json, v VARCHAR(3) NOT NULL, b BIT(3) NOT NULL, f DOUBLE NOT NULL) CHARSET=utf8mb4" );
$site->sql( "INSERT INTO wp_typed VALUES (1, 1, '2026-01-01', 'a', CONVERT('{}' USING utf8mb4), 'abc', b'101', 1.5)" );

/** A row that fits. */
const GOOD = array( '1', '1', '2026-01-01', 'a', '{}', 'abc', '5', '1.5' );

/** A row as the protocol has it. */
function encoded_row( array $row ): string {
	$sizes = '';
	foreach ( $row as $value ) {
		$sizes .= pack( 'N', null === $value ? 0xFFFFFFFF : strlen( $value ) );
	}
	return $sizes . implode( '', $row );
}

/** Loads a row into a new job, passes status and error on, and aborts. */
function load_row( Test_Site $site, string $payload, array $more_frames = array() ): array {
	$job = random_job();
	$site->request_ok( 'begin', array( 'job' => $job ) );
	$id   = $site->request_ok( 'define', array( 'job' => $job, 'definition' => definitions( $site )['table wp_typed'] ) )['table_id'];
	$head = array( 'job' => $job, 'table_id' => $id, 'chunk' => 1, 'cursor' => null, 'last' => true );
	$got  = $site->request( 'load-rows', Test_Site::encode_frames( $head, array_merge( array( array( 'R', $payload ) ), $more_frames ) ) );
	check( null !== $got, 'an answer' );
	$count = 200 === $got->status ? $site->request_ok( 'checksum', array( 'job' => $job, 'table_id' => $id ) ) : null;
	$site->until_done( 'abort', array( 'job' => $job ) );
	return array( $got->status, $got->json['error'] ?? '', $count, $got->peak );
}

test(
	'a row that fits is stored as it was sent',
	static function () use ( $site ) {
		list( $status, , $count ) = load_row( $site, encoded_row( GOOD ) );
		same( array( 200, 1, hash( 'sha256', encoded_row( GOOD ) ) ), array( $status, $count['rows'], $count['digest'] ), 'row' );
	}
);

test(
	'a value of another type, out of range, NULL, or not UTF-8 is rejected with a code, or the checksum tells that it is another value',
	static function () use ( $site ) {
		$deep  = str_repeat( '[', 100000 ) . str_repeat( ']', 100000 );
		$cases = array(
			array( 0, 'abc' ), array( 0, '99999999999999999999' ), array( 0, '' ), array( 0, null ), array( 0, "1\0" ),
			array( 1, '-1' ), array( 1, '256' ), array( 1, 'x' ), array( 1, null ), array( 1, '1 OR 1=1' ),
			array( 2, '2026-13-45' ), array( 2, 'tomorrow' ), array( 2, '' ), array( 2, null ), array( 2, str_repeat( '9', 4000 ) ),
			array( 3, 'c' ), array( 3, null ), array( 3, '0' ), array( 3, "a'); DROP TABLE wp_posts; --" ),
			array( 4, 'not json' ), array( 4, '{"a":1,"a":2}' ), array( 4, $deep ), array( 4, "\"\xff\"" ), array( 4, '{"a":' ), array( 4, null ),
			array( 5, 'abcd' ), array( 5, null ), array( 5, "\xff\xfe" ), array( 5, "\xed\xa0\x80" ), array( 5, "\xf0\x9f" ), array( 5, str_repeat( 'x', 131000 ) ),
			array( 6, 'x' ), array( 6, '8' ), array( 6, '-1' ), array( 6, '99999999999999999999' ), array( 6, '1;' ), array( 6, null ), array( 6, '' ),
			array( 7, 'NaN' ), array( 7, '1e999' ), array( 7, 'x' ), array( 7, null ),
		);
		$rejected = 0;
		foreach ( $cases as $number => list( $column, $value ) ) {
			$row                                     = GOOD;
			$row[ $column ]                          = $value;
			list( $status, $error, $count, $peak ) = load_row( $site, encoded_row( $row ) );
			$named                                   = "case $number: $status $error";
			check( $peak < 64 << 20, "$named: memory" );
			if ( 200 === $status ) {
				$is_same = $count['digest'] === hash( 'sha256', encoded_row( $row ) );
				// Bytes that the column can hold are not changed: what they mean is the site's own.
				check( ! $is_same || in_array( $column, array( 4, 5 ), true ), "$named: stored as it was sent" );
			} else {
				++$rejected;
				check( in_array( array( $status, $error ), array( array( 400, 'bad_request' ), array( 500, 'database_error' ), array( 422, 'value_too_large' ) ), true ), $named );
			}
		}
		check( $rejected > 5, "$rejected rejected" );
		check( (int) $site->value( 'SELECT COUNT(*) FROM wp_posts' ) > 0, 'the site is there' );
	}
);

test(
	'lengths that are not true, and values of 100 MB without their bytes, are rejected within bounds',
	static function () use ( $site ) {
		$good  = encoded_row( GOOD );
		$large = static function ( int $size ) {
			return pack( 'N', 1 ) . pack( 'N', 1 ) . pack( 'N', 10 ) . pack( 'N', 1 ) . pack( 'N', 2 ) . pack( 'N', 0xFFFFFFFE ) . pack( 'N', 1 ) . pack( 'N', 3 )
				. '112026-01-01a{}' . pack( 'J', $size ) . str_repeat( "\7", 32 ) . '51.5';
		};
		$piece = static function ( int $column, int $offset, string $bytes ) {
			return array( 'P', pack( 'nJ', $column, $offset ) . $bytes );
		};
		$cases = array(
			array( substr( $good, 0, -1 ) ), array( $good . 'x' ), array( substr( $good, 0, 31 ) ), array( pack( 'N', 0xFFFFFFFD ) . substr( $good, 4 ) ), array( str_repeat( "\xff", 31 ) ),
			array( $large( 100 << 20 ) ), array( $large( PHP_INT_MAX ) ), array( $large( -1 ) ), array( $large( 0 ) ),
			array( $large( 200000 ), array( $piece( 5, 100000, 'x' ) ) ), array( $large( 200000 ), array( $piece( 4, 0, 'x' ) ) ), array( $large( 200000 ), array( $piece( 9, 0, 'x' ) ) ),
			array( $large( 200000 ), array( $piece( 5, 0, str_repeat( 'x', 200001 ) ) ) ), array( $large( 200000 ), array( $piece( 5, 0, str_repeat( 'x', 200000 ) ) ) ),
			array( $good, array( $piece( 5, 0, 'x' ) ) ),
		);
		foreach ( $cases as $number => $frames ) {
			list( $status, $error, , $peak ) = load_row( $site, $frames[0], $frames[1] ?? array() );
			check( in_array( $error, array( 'bad_request', 'value_too_large', 'restart_table' ), true ), "case $number: $status $error" );
			check( $peak < 64 << 20, "case $number: memory" );
		}
		same( array(), $site->plugin_tables(), 'tables' );
	}
);
