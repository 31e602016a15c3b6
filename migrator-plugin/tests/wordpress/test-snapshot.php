<?php
/**
 * The last pass over a shop that gets orders while it is copied: an order, its items and its data are written together, to
 * tables like those of a shop plugin. All of them are read at one moment.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

$site->load_plugin();
$site->sql( 'CREATE TABLE wp_shop_orders (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, status VARCHAR(20) NOT NULL) ENGINE=InnoDB' );
$site->sql( 'CREATE TABLE wp_shop_items (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, order_id BIGINT UNSIGNED NOT NULL, name LONGTEXT) ENGINE=InnoDB' );
$site->sql( 'CREATE TABLE wp_shop_stats (order_id BIGINT UNSIGNED NOT NULL, day CHAR(10) NOT NULL, PRIMARY KEY (day, order_id)) ENGINE=InnoDB' );
$site->sql( 'CREATE TABLE wp_shop_log (line TEXT) ENGINE=MyISAM' );

/** Writes an order with two items, as one transaction of another connection. */
function write_order( \mysqli $link ): void {
	mysqli_query( $link, 'START TRANSACTION' );
	mysqli_query( $link, "INSERT INTO wp_shop_orders (status) VALUES ('new')" );
	$id = (int) mysqli_insert_id( $link );
	mysqli_query( $link, "INSERT INTO wp_shop_items (order_id, name) VALUES ($id, REPEAT('a', 200)), ($id, 'b')" );
	mysqli_query( $link, "INSERT INTO wp_shop_stats VALUES ($id, DATE_SUB('2026-01-01', INTERVAL $id DAY))" );
	mysqli_query( $link, 'COMMIT' );
}

/** What a client knows of a table after reading it. */
function known_table( Test_Site $site, string $table ): array {
	$got = $site->request( 'rows', array( 'table' => $table, 'bytes' => 8388608, 'ms' => 60000 ) )->json;
	check( null === $got['cursor'], "$table is read as a whole" );
	return array( 'table' => $table, 'rows' => $got['rows'], 'digest' => $got['digest'], 'cursor' => $got['end'] );
}

/** A snapshot: rows of complete sections by table, states by table, and digests. */
function snapshot( Test_Site $site, array $known, int $bytes = 8388608, int $ms = 60000 ): array {
	$answer   = $site->request( 'snapshot', array( 'tables' => $known, 'bytes' => $bytes, 'ms' => $ms ) );
	$sections = array();
	$states   = array();
	$header   = null;
	foreach ( $answer->frames as list( $kind, $payload ) ) {
		if ( 'H' === $kind ) {
			$header = json_decode( $payload, true );
		} elseif ( 'S' === $kind ) {
			$sum = json_decode( $payload, true );
			if ( $sum['complete'] ) {
				$sections[ $header['table'] ] = $sum + $header;
			}
		} elseif ( 'V' === $kind ) {
			$verdict                     = json_decode( $payload, true );
			$states[ $verdict['table'] ] = $verdict['state'];
		}
	}
	return array( $sections, $states );
}

$tables = array( 'wp_shop_orders', 'wp_shop_items', 'wp_shop_stats', 'wp_shop_log', 'wp_options' );
$other  = $site->server->link( 'site' );
for ( $i = 0; $i < 20; $i++ ) {
	write_order( $other );
}
$site->sql( "INSERT INTO wp_shop_log VALUES ('one')" );

test(
	'of a quiet site nothing is sent, and every table is as it was read',
	static function () use ( $site, $tables ) {
		$known = array();
		foreach ( $tables as $table ) {
			$known[] = known_table( $site, $table );
		}
		list( $sections, $states ) = snapshot( $site, $known );
		// WordPress itself may write options meanwhile.
		$shop = array( 'wp_shop_items', 'wp_shop_log', 'wp_shop_orders', 'wp_shop_stats' );
		ksort( $states );
		same( array_fill_keys( $shop, 'exact' ), array_intersect_key( $states, array_flip( $shop ) ), 'states' );
		same( 0, $sections['wp_shop_orders']['rows'] + $sections['wp_shop_items']['rows'], 'rows' );
	}
);

test(
	'orders that come while the tables are read arrive with their items and data, in every table as of one moment',
	static function () use ( $site, $tables, $other ) {
		// The tables are read one after the other, and orders come between them: what was read does not fit together.
		$known = array();
		foreach ( $tables as $table ) {
			$known[ $table ] = known_table( $site, $table );
			write_order( $other );
		}
		check( 2 * $known['wp_shop_orders']['rows'] !== $known['wp_shop_items']['rows'], 'it is torn' );
		list( $sections, $states ) = snapshot( $site, array_values( $known ) );
		$rows = static function ( string $table ) use ( $known, $sections ): int {
			return $sections[ $table ]['whole'] ? $sections[ $table ]['rows'] : $known[ $table ]['rows'] + $sections[ $table ]['rows'];
		};
		$orders = $rows( 'wp_shop_orders' );
		same( array( (int) $site->value( 'SELECT COUNT(*) FROM wp_shop_orders' ), 2 * $orders, $orders ), array( $orders, $rows( 'wp_shop_items' ), $rows( 'wp_shop_stats' ) ), 'orders, items, data' );
		same( array( 'exact', 'exact', 'exact' ), array( $states['wp_shop_orders'], $states['wp_shop_items'], $states['wp_shop_stats'] ), 'states' );
		check( ! $sections['wp_shop_items']['whole'], 'appended rows are sent alone' );
		check( $sections['wp_shop_stats']['whole'], 'rows between others are sent with the table' );
		$again = known_table( $site, 'wp_shop_items' );
		same( $again['digest'], bin2hex( hex2bin( $known['wp_shop_items']['digest'] ) ^ hex2bin( $sections['wp_shop_items']['digest'] ) ), 'digest' );
		same( $again['cursor']['k'], $sections['wp_shop_items']['end']['k'], 'where it ends' );
	}
);

test(
	'changed and deleted rows are sent with their table, or named if there is no room',
	static function () use ( $site ) {
		$known = array( known_table( $site, 'wp_shop_orders' ), known_table( $site, 'wp_shop_items' ) );
		$site->sql( "UPDATE wp_shop_orders SET status = 'paid' WHERE id = 1" );
		$site->sql( "UPDATE wp_shop_items SET name = REPEAT('x', 100000) WHERE id = 1" );
		$site->sql( 'DELETE FROM wp_shop_items WHERE id = 2' );
		list( $sections, $states ) = snapshot( $site, $known, 16384 );
		same( array( 'exact', true ), array( $states['wp_shop_orders'], $sections['wp_shop_orders']['whole'] ), 'the small one' );
		same( array( 'changed', false ), array( $states['wp_shop_items'], $sections['wp_shop_items']['whole'] ), 'the large one' );
		list( $sections, $states ) = snapshot( $site, $known );
		same( array( 'exact', true, known_table( $site, 'wp_shop_items' )['digest'] ), array( $states['wp_shop_items'], $sections['wp_shop_items']['whole'], $sections['wp_shop_items']['digest'] ), 'with room' );
	}
);

test(
	'tables without transactions are sent, but not said to be of that moment; missing ones and those of others are unknown',
	static function () use ( $site ) {
		$known = array( known_table( $site, 'wp_shop_log' ) );
		$site->sql( "INSERT INTO wp_shop_log VALUES ('two')" );
		$known[] = array( 'table' => 'wp_none' ) + $known[0];
		$known[] = array( 'table' => 'wp_wpclone_migrator' ) + $known[0];
		list( $sections, $states ) = snapshot( $site, $known );
		same( array( 'unknown', 'unknown', 'unknown' ), array_values( $states ), 'states' );
		same( array( 'wp_shop_log' ), array_keys( $sections ), 'rows' );
	}
);

test(
	'a snapshot is bounded: 500 tables, and no digest that is none',
	static function () use ( $site ) {
		$known = known_table( $site, 'wp_shop_log' );
		same( 'bad_request', $site->request_error( 'snapshot', array( 'tables' => array_fill( 0, 501, $known ) ) )['error'], 'too many' );
		same( 'bad_request', $site->request_error( 'snapshot', array( 'tables' => array( array( 'digest' => 'x' ) + $known ) ) )['error'], 'digest' );
	}
);

test(
	'chunks are added to a complete table only if they say so, and once',
	static function () use ( $site ) {
		$job        = random_job();
		$definition = definitions( $site )['table wp_shop_orders'];
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$id     = $site->request_ok( 'define', array( 'job' => $job, 'definition' => $definition ) )['table_id'];
		$chunks = export_chunks( $site, 'wp_shop_orders' )[0];
		$head   = array( 'job' => $job, 'table_id' => $id, 'cursor' => null );
		$send   = static function ( int $chunk, array $frames, bool $append ) use ( $site, $head ) {
			return $site->request( 'load-rows', Test_Site::encode_frames( $head + array( 'chunk' => $chunk, 'last' => true, 'append' => $append ), $frames ) )->json;
		};
		$rows = $send( 1, $chunks[0]['frames'], false )['rows'];
		$row  = array( array( 'R', pack( 'NN', 6, 3 ) . '999999new' ) );
		same( 'out_of_sequence', $send( 2, $row, false )['error'], 'without saying so' );
		same( $rows + 1, $send( 2, $row, true )['rows'], 'added' );
		same( $rows + 1, $send( 2, $row, true )['rows'], 'sent again' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);
