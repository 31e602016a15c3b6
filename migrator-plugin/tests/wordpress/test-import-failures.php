<?php
/**
 * Imports under failures: processes killed at each step, lost responses, chunks sent twice or concurrently, a second job,
 * values that do not fit, and hostile clients.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

$site->load_plugin();

foreach ( array( 'InnoDB', 'MyISAM' ) as $engine ) {
	$site->sql( "CREATE TABLE wp_src_$engine (id INT NOT NULL PRIMARY KEY, a LONGTEXT, b VARCHAR(50)) ENGINE=$engine CHARSET=utf8mb4" );
	$site->sql( "INSERT INTO wp_src_$engine SELECT seq, IF(seq % 40 = 7, REPEAT(CHAR(97 + seq % 26), 700000), 'x'), LEFT(SHA2(seq, 256), 32) FROM (WITH RECURSIVE s(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 100) SELECT seq FROM s) q" );
}

/** Starts a job with one table. */
function job_with_table( Test_Site $site, string $source, array $more = array() ): array {
	$job = random_job();
	$site->request_ok( 'begin', array( 'job' => $job ) + $more );
	return array( $job, $site->request_ok( 'define', array( 'job' => $job, 'definition' => definitions( $site )[ "table $source" ] ) )['table_id'] );
}

function digest( Test_Site $site, string $job, int $n ): array {
	$result = $site->request_ok( 'checksum', array( 'job' => $job, 'table_id' => $n ) );
	same( null, $result['cursor'], 'one request is enough' );
	return array( $result['rows'], $result['digest'] );
}

/** Frames J and R with rows of strings. */
function chunk( string $job, int $n, int $seq, array $rows, array $more = array() ): string {
	$payload = '';
	foreach ( $rows as $row ) {
		$sizes = '';
		$bytes = '';
		foreach ( $row as $value ) {
			$sizes .= pack( 'N', null === $value ? 0xFFFFFFFF : strlen( $value ) );
			$bytes .= $value;
		}
		$payload .= $sizes . $bytes;
	}
	return Test_Site::encode_frames( $more + array( 'job' => $job, 'table_id' => $n, 'chunk' => $seq, 'cursor' => array( 's' => $seq ), 'last' => false ), array( array( 'R', $payload ) ) );
}

test(
	'a chunk that is killed at any step is loaded completely or not at all, and only once',
	static function () use ( $site ) {
		foreach ( array( 'InnoDB', 'MyISAM' ) as $engine ) {
			list( $chunks, $rows, $digest ) = export_chunks( $site, "wp_src_$engine", 400000 );
			check( count( $chunks ) > 4, 'several chunks, with values that continue in the next one' );
			list( $job, $n ) = job_with_table( $site, "wp_src_$engine" );
			$point           = 1;
			$restarts        = 0;
			for ( $i = 0; $i < count( $chunks ); ) {
				$body = Test_Site::encode_frames( chunk_head( $job, $n, $chunks, $i ), $chunks[ $i ]['frames'] );
				$got  = $site->request( 'load-rows', $body, $point );
				if ( null === $got ) {
					$point += 'InnoDB' === $engine ? 1 : 7;
					continue;
				}
				if ( 409 === $got->status ) {
					same( 'restart_table', $got->json['error'], 'error' );
					same( '0', $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ), 'emptied' );
					++$restarts;
					$i = 0;
					continue;
				}
				same( array( 200, $i + 1, $chunks[ $i ]['cursor'] ), array( $got->status, $got->json['chunk'], $got->json['cursor'] ), "chunk $i: {$got->body}" );
				++$i;
				$point = 'InnoDB' === $engine ? 1 : $point;
			}
			check( ( 'MyISAM' === $engine ) === ( $restarts > 0 ), "$engine: $restarts restarts" );
			same( array( $rows, $digest ), digest( $site, $job, $n ), $engine );
			$site->until_done( 'abort', array( 'job' => $job ) );
		}
	}
);

test(
	'after a lost response the same chunk is acknowledged, and another one is out of sequence',
	static function () use ( $site ) {
		list( $job, $n ) = job_with_table( $site, 'wp_src_InnoDB' );
		$one             = chunk( $job, $n, 1, array( array( '1', 'a', 'b' ), array( '2', null, '' ) ) );
		$result            = $site->request_ok( 'load-rows', $one );
		same( array( 'table_id' => $n, 'chunk' => 1, 'rows' => 2, 'cursor' => array( 's' => 1 ) ), array_diff_key( $result, array( 'warnings' => 0 ) ), 'result' );
		same( array( 1, 2 ), array( $site->request_ok( 'load-rows', $one )['chunk'], $site->request_ok( 'load-rows', $one )['rows'] ), 'again' );
		$wrong = $site->request_error( 'load-rows', chunk( $job, $n, 3, array( array( '3', 'a', 'b' ) ) ) );
		same( array( 'out_of_sequence', 409, 1, array( 's' => 1 ) ), array( $wrong['error'], $wrong['status'], $wrong['chunk'], $wrong['cursor'] ), 'sequence' );
		$begun = $site->request_ok( 'begin', array( 'job' => $job ) );
		same( array( true, array( array( 'table_id' => $n, 'name' => 'wp_src_InnoDB', 'chunk' => 1, 'rows' => 2, 'cursor' => array( 's' => 1 ), 'complete' => false ) ) ), array( $begun['resumed'], $begun['tables'] ), 'resumed' );
		same( array( 'incomplete', array( $n ) ), array( $site->request_error( 'prepare', array( 'job' => $job ) )['error'], $site->request_error( 'prepare', array( 'job' => $job ) )['tables'] ), 'prepare' );
		$site->request_ok( 'load-rows', chunk( $job, $n, 2, array(), array( 'last' => true, 'cursor' => null ) ) );
		same( 'out_of_sequence', $site->request_error( 'load-rows', chunk( $job, $n, 3, array() ) )['error'], 'after the last' );
		$again = $site->request_ok( 'define', array( 'job' => $job, 'definition' => definitions( $site )['table wp_src_InnoDB'] ) );
		same( $n, $again['table_id'], 'the same number' );
		same( '2', $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ), 'rows stay' );
		$again = $site->request_ok( 'define', array( 'job' => $job, 'definition' => definitions( $site )['table wp_src_InnoDB'], 'recreate' => true ) );
		same( array( $n, '0' ), array( $again['table_id'], $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ) ), 'from the beginning' );
		$site->request_ok( 'load-rows', chunk( $job, $n, 1, array(), array( 'last' => true ) ) );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'a chunk that is sent four times concurrently is loaded once',
	static function () use ( $site ) {
		list( $job, $n ) = job_with_table( $site, 'wp_src_InnoDB' );
		$rows            = array();
		for ( $i = 1; $i <= 5000; $i++ ) {
			$rows[] = array( (string) $i, str_repeat( 'x', 200 ), 'b' );
		}
		$body    = chunk( $job, $n, 1, $rows );
		$started = array();
		for ( $i = 0; $i < 4; $i++ ) {
			$started[] = $site->send( 'load-rows', $body );
		}
		$good = 0;
		foreach ( $started as $one ) {
			$got = $site->await( $one );
			check( 200 === $got->status || 'busy' === $got->json['error'], $got->body );
			$good += 200 === $got->status ? 1 : 0;
		}
		check( $good > 0, 'taken' );
		same( '5000', $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ), 'rows' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'a row that violates a constraint rolls its chunk back, and the error has a number but no text',
	static function () use ( $site ) {
		list( $job, $n ) = job_with_table( $site, 'wp_src_InnoDB' );
		$wrong           = $site->request_error( 'load-rows', chunk( $job, $n, 1, array( array( '1', 'a', 'b' ), array( '1', 'SECRET', 'b' ) ) ) );
		same( array( 500, 'database_error', 1062 ), array( $wrong['status'], $wrong['error'], $wrong['errno'] ), 'error' );
		check( ! preg_match( '/secret|duplicate|wp_/i', json_encode( $wrong ) ), 'no text' );
		same( '0', $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ), 'rows' );
		$log = (string) file_get_contents( "{$site->server->folder}/php.log" );
		check( false !== strpos( $log, $wrong['id'] ) && false === strpos( $log, 'SECRET' ), 'log' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

/** The payload of a frame A: a row of strings in two forms, which differ in one value with two addresses. */
function alternatives( array $preferred, array $other ): string {
	$encode = static function ( array $row ): string {
		return pack( 'N*', ...array_map( static function ( $value ) { return null === $value ? 0xFFFFFFFF : strlen( $value ); }, $row ) ) . implode( '', $row );
	};
	return pack( 'NN', 1, 2 ) . $encode( $preferred ) . $encode( $other );
}

test(
	'a row that is not unique is loaded in its other form, and counted until the job ends',
	static function () use ( $site ) {
		$site->sql( 'CREATE TABLE wp_generated (id INT PRIMARY KEY, a VARCHAR(300), b VARCHAR(50), h VARCHAR(300) AS (UPPER(a)) STORED, UNIQUE KEY h (h), UNIQUE KEY b (b(5))) CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci' );
		list( $job, $n ) = job_with_table( $site, 'wp_generated' );
		$frames          = array(
			array( 'A', alternatives( array( '1', 'new', 'one' ), array( '1', 'http', 'one' ) ) ),
			// The same in a generated column, in a prefix, and by the collation.
			array( 'A', alternatives( array( '2', 'new', 'two' ), array( '2', 'https', 'two' ) ) ),
			array( 'A', alternatives( array( '3', 'c', 'same and new' ), array( '3', 'c', 'three' ) ) ),
			array( 'A', alternatives( array( '4', 'd', 'SAME AND OTHER' ), array( '4', 'd', 'four' ) ) ),
			array( 'A', alternatives( array( '5', null, null ), array( '5', 'e', 'five' ) ) ),
		);
		$head = array( 'job' => $job, 'table_id' => $n, 'chunk' => 1, 'cursor' => array( 's' => 1 ), 'last' => false );
		$body = Test_Site::encode_frames( $head, $frames );
		$got  = $site->request_ok( 'load-rows', $body );
		$row  = static function ( string $payload, bool $preferred ): string {
			list( $at, $rows ) = array( 8, array() );
			foreach ( array( 0, 1 ) as $_ ) {
				$sizes  = array_filter( unpack( 'N3', $payload, $at ), static function ( $size ) { return 0xFFFFFFFF !== $size; } );
				$rows[] = substr( $payload, $at, 12 + array_sum( $sizes ) );
				$at    += strlen( end( $rows ) );
			}
			return hash( 'sha256', $rows[ $preferred ? 0 : 1 ], true );
		};
		$digest = $row( $frames[1][1], true ) ^ $row( $frames[1][1], false ) ^ $row( $frames[3][1], true ) ^ $row( $frames[3][1], false );
		$wanted = array( 'rows' => 2, 'values' => 2, 'addresses' => 4, 'digest' => bin2hex( $digest ) );
		same( array( 5, $wanted ), array( $got['rows'], $got['constraint_conflicts'] ), 'result' );
		same( $wanted, $site->request_ok( 'load-rows', $body )['constraint_conflicts'], 'the same chunk again' );
		same( $wanted, $site->request_ok( 'begin', array( 'job' => $job ) )['tables'][0]['constraint_conflicts'], 'resumed' );
		$all = $row( $frames[0][1], true ) ^ $row( $frames[1][1], false ) ^ $row( $frames[2][1], true ) ^ $row( $frames[3][1], false ) ^ $row( $frames[4][1], true );
		same( array( 5, bin2hex( $all ) ), digest( $site, $job, $n ), 'rows' );
		same( array( array( '1', 'new' ), array( '2', 'https' ), array( '3', 'c' ), array( '4', 'd' ), array( '5', null ) ), $site->rows( "SELECT id, a FROM wp_wpclone_new_$n ORDER BY id" ), 'values' );
		// Neither form is unique: nothing of the chunk is loaded.
		$neither = array( array( 'A', alternatives( array( '6', 'f', 'six' ), array( '6', 'f', 'six' ) ) ), array( 'A', alternatives( array( '7', 'f', 'g' ), array( '7', 'new', 'h' ) ) ) );
		$wrong   = $site->request_error( 'load-rows', Test_Site::encode_frames( array( 'chunk' => 2 ) + $head, $neither ) );
		same( array( 'database_error', 1062, '5' ), array( $wrong['error'], $wrong['errno'], $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ) ), 'neither' );
		foreach ( array( '', pack( 'NN', 1, 1 ), substr( $frames[0][1], 0, -1 ), $frames[0][1] . 'x' ) as $payload ) {
			same( 400, $site->request_error( 'load-rows', Test_Site::encode_frames( array( 'chunk' => 2 ) + $head, array( array( 'A', $payload ) ) ) )['status'], 'malformed' );
		}
		$site->request_ok( 'define', array( 'job' => $job, 'definition' => definitions( $site )['table wp_generated'], 'recreate' => true ) );
		check( ! isset( $site->request_ok( 'begin', array( 'job' => $job ) )['tables'][0]['constraint_conflicts'] ), 'from the beginning' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		$site->sql( 'DROP TABLE wp_generated' );
	}
);

test(
	'a row that a check does not accept is loaded in its other form; what violates it at the source is loaded where the server allows it',
	static function () use ( $site ) {
		$site->sql( "CREATE TABLE wp_checked (id INT PRIMARY KEY, a VARCHAR(300), b VARCHAR(50), CONSTRAINT begins CHECK (a LIKE 'http:%' OR id > 1))" );
		list( $job, $n ) = job_with_table( $site, 'wp_checked' );
		$frames          = array(
			array( 'A', alternatives( array( '1', 'https://new', 'new' ), array( '1', 'http://old', 'new' ) ) ),
			array( 'A', alternatives( array( '2', 'https://new', 'new' ), array( '2', 'http://old', 'new' ) ) ),
		);
		if ( $site->is_mariadb() ) {
			$frames[] = array( 'A', alternatives( array( '0', 'ftp://new', 'new' ), array( '0', 'ftp://old', 'new' ) ) );
			$frames[] = array( 'A', alternatives( array( '-1', 'http://new', 'new' ), array( '-1', 'ftp://old', 'new' ) ) );
		}
		$head = array( 'job' => $job, 'table_id' => $n, 'chunk' => 1, 'cursor' => array( 's' => 1 ), 'last' => true );
		$got  = $site->request_ok( 'load-rows', Test_Site::encode_frames( $head, $frames ) );
		same( $site->is_mariadb() ? 2 : 1, $got['constraint_conflicts']['rows'], 'conflicts' );
		$rows = array( array( '1', 'http://old', 'new' ), array( '2', 'https://new', 'new' ) );
		$more = array( array( '-1', 'http://new', 'new' ), array( '0', 'ftp://old', 'new' ) );
		same( array_merge( $site->is_mariadb() ? $more : array(), $rows ), $site->rows( "SELECT * FROM wp_wpclone_new_$n ORDER BY id" ), 'rows' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		$site->sql( 'DROP TABLE wp_checked' );
	}
);

test(
	'malformed frames, or frames out of order, are rejected without a trace',
	static function () use ( $site ) {
		list( $job, $n ) = job_with_table( $site, 'wp_src_InnoDB' );
		$head  = array( 'job' => $job, 'table_id' => $n, 'chunk' => 1, 'last' => false );
		$large = pack( 'NNN', 1, 0xFFFFFFFE, 1 ) . '5' . pack( 'J', 200000 ) . hash( 'sha256', str_repeat( 'a', 200000 ), true ) . 'b';
		$piece = static function ( int $column, int $offset, int $size ) {
			return array( 'P', pack( 'nJ', $column, $offset ) . str_repeat( 'a', $size ) );
		};
		$cases = array(
			'no frames'        => 'x',
			'only the head'    => substr( Test_Site::encode_frames( $head, array() ), 0, -3 ),
			'cut off'          => substr( chunk( $job, $n, 1, array( array( '1', 'a', 'b' ) ) ), 0, -1 ),
			'half a row'       => Test_Site::encode_frames( $head, array( array( 'R', pack( 'NN', 1, 1 ) ) ) ),
			'too short a row'  => Test_Site::encode_frames( $head, array( array( 'R', pack( 'NNN', 1, 5000, 1 ) . 'abc' ) ) ),
			'a piece alone'    => Test_Site::encode_frames( $head, array( $piece( 1, 0, 10 ) ) ),
			'another column'   => Test_Site::encode_frames( $head, array( array( 'R', $large ), $piece( 2, 0, 10 ) ) ),
			'another offset'   => Test_Site::encode_frames( $head, array( array( 'R', $large ), $piece( 1, 10, 10 ) ) ),
			'too much'         => Test_Site::encode_frames( $head, array( array( 'R', $large ), $piece( 1, 0, 200001 ) ) ),
			'a row in between' => Test_Site::encode_frames( $head, array( array( 'R', $large ), array( 'R', $large ) ) ),
			'rows behind it'   => Test_Site::encode_frames( $head, array( array( 'R', $large . $large ) ) ),
			'the last, broken' => Test_Site::encode_frames( array( 'last' => true ) + $head, array( array( 'R', $large ), $piece( 1, 0, 10 ) ) ),
			'unknown frame'    => Test_Site::encode_frames( $head, array( array( 'Q', '' ) ) ),
			'a negative size'  => Test_Site::encode_frames( $head, array( array( 'R', pack( 'NNN', 1, 0xFFFFFFFE, 0xFFFFFFFF ) . '5' . str_repeat( "\xff", 40 ) ) ) ),
			'no such table'    => Test_Site::encode_frames( array( 'table_id' => 99 ) + $head, array() ),
			'seq 0'            => Test_Site::encode_frames( array( 'chunk' => 0 ) + $head, array() ),
			'a long cursor'    => Test_Site::encode_frames( array( 'cursor' => str_repeat( 'x', 2048 ) ) + $head, array() ),
			'too long a frame' => "WPCLONE1J\xff\xff\xff\xff{}",
		);
		foreach ( $cases as $what => $body ) {
			$wrong = $site->request_error( 'load-rows', $body );
			same( array( 400, 'bad_request' ), array( $wrong['status'], $wrong['error'] ), $what );
		}
		same( array( '0', '0' ), array( $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ), $site->value( 'SELECT COUNT(*) FROM wp_wpclone_import_value_parts' ) ), 'rows' );
		// The pieces do not match the row's hash: the row changed while it was read.
		same( 'restart_table', $site->request_error( 'load-rows', Test_Site::encode_frames( $head, array( array( 'R', $large ), array( 'P', pack( 'nJ', 1, 0 ) . str_repeat( 'z', 200000 ) ) ) ) )['error'], 'another value' );
		same( array( '0', '0' ), array( $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n" ), $site->value( 'SELECT COUNT(*) FROM wp_wpclone_import_value_parts' ) ), 'rows' );
		$site->request_ok( 'load-rows', Test_Site::encode_frames( $head, array( array( 'R', $large ), $piece( 1, 0, 100000 ) ) ) );
		$site->request_ok( 'load-rows', Test_Site::encode_frames( array( 'chunk' => 2, 'last' => true ) + $head, array( $piece( 1, 100000, 100000 ) ) ) );
		same( '200000', $site->value( "SELECT LENGTH(a) FROM wp_wpclone_new_$n WHERE id = 5 AND b = 'b'" ), 'in two chunks' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'a value that the database does not accept is reported before its pieces are sent',
	static function () use ( $site ) {
		list( $job, $n ) = job_with_table( $site, 'wp_src_InnoDB' );
		$most            = (int) $site->value( 'SELECT @@max_allowed_packet' );
		$row             = pack( 'NNN', 1, 0xFFFFFFFE, 1 ) . '5' . pack( 'J', $most ) . str_repeat( 'h', 32 ) . 'b';
		$wrong           = $site->request_error( 'load-rows', Test_Site::encode_frames( array( 'job' => $job, 'table_id' => $n, 'chunk' => 1 ), array( array( 'R', $row ) ) ) );
		same( array( 422, 'value_too_large', $most - 1 ), array( $wrong['status'], $wrong['error'], $wrong['limit'] ), 'error' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'there is one job at a time; another one can replace it only when it has been idle',
	static function () use ( $site ) {
		list( $job ) = job_with_table( $site, 'wp_src_InnoDB', array( 'roots' => array( 'uploads' ) ) );
		$other       = random_job();
		$wrong       = $site->request_error( 'begin', array( 'job' => $other ) );
		same( array( 429, 'busy' ), array( $wrong['status'], $wrong['error'] ), 'busy' );
		same( 'busy', $site->request_error( 'begin', array( 'job' => $other, 'replace' => true ) )['error'], 'it is in use' );
		same( 'job_not_found', $site->request_error( 'prepare', array( 'job' => $other ) )['error'], 'not its job' );
		$folders = $site->staging_folders();
		$site->sql( 'UPDATE wp_wpclone_import_job SET last_used = last_used - 901' );
		same( 'busy', $site->request_error( 'begin', array( 'job' => $other ) )['error'], 'not without replace' );
		same( false, $site->request_ok( 'begin', array( 'job' => $other, 'replace' => true, 'roots' => array( 'uploads' ) ) )['resumed'], 'replaced' );
		same( 'job_not_found', $site->request_error( 'prepare', array( 'job' => $job ) )['error'], 'the first is gone' );
		check( ! array_intersect( $folders, $site->staging_folders() ) && 1 === count( $site->staging_folders() ), 'its folder, too' );
		same( 'wp_wpclone_import_job wp_wpclone_import_moves wp_wpclone_import_tables wp_wpclone_import_value_parts', implode( ' ', $site->plugin_tables() ), 'tables' );
		$site->until_done( 'abort', array( 'job' => $other ) );
		same( array(), array_merge( $site->plugin_tables(), $site->staging_folders() ), 'nothing is left' );
	}
);

test(
	'a job that was killed while it began, defined, prepared or aborted can be continued',
	static function () use ( $site ) {
		$job        = random_job();
		$definition = definitions( $site )['table wp_options'];
		$ask        = static function ( string $route, array $body ) use ( $site, $job ) {
			for ( $point = 1; $point < 300; $point++ ) {
				$got = $site->request( $route, array( 'job' => $job ) + $body, $point );
				if ( null !== $got ) {
					check( 200 === $got->status && false !== ( $got->json['done'] ?? true ), "$route $point: {$got->body}" );
					return $got->json;
				}
			}
			throw new RuntimeException( "$route never ends" );
		};
		$ask( 'begin', array( 'roots' => array( 'uploads', 'content' ) ) );
		$n = $ask( 'define', array( 'definition' => $definition ) )['table_id'];
		$site->request_ok( 'load-rows', chunk( $job, $n, 1, array( array( '1', 'siteurl', 'x', 'yes' ) ), array( 'last' => true ) ) );
		$ask( 'prepare', array() );
		check( \Wpclone\Migrator\Access_Window::load()->is_open( time() ), 'the key stays' );
		same( '0', $site->value( "SELECT COUNT(*) FROM wp_wpclone_new_$n WHERE option_name LIKE '%wpclone%'" ), 'and is in no other table' );
		for ( $point = 1; $point < 300; $point++ ) {
			$got = $site->request( 'abort', array( 'job' => $job ), $point );
			if ( null !== $got ) {
				check( 200 === $got->status || 'job_not_found' === $got->json['error'], $got->body );
				break;
			}
		}
		same( array(), array_merge( $site->plugin_tables(), $site->staging_folders() ), 'nothing is left' );
	}
);

test(
	'malicious definitions and names are rejected with the field that is wrong',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$column = array( 'name' => 'a', 'type' => 'int(11)', 'nullable' => true, 'default' => null, 'auto_increment' => false, 'on_update' => null, 'charset' => null, 'collation' => null, 'comment' => '', 'generated' => null );
		$table  = array( 'kind' => 'table', 'name' => 'wp_x', 'engine' => 'InnoDB', 'charset' => 'utf8mb4', 'collation' => 'utf8mb4_general_ci', 'row_format' => 'Dynamic', 'comment' => '', 'auto_increment' => null, 'partitioned' => false, 'columns' => array( $column ), 'indexes' => array(), 'foreign_keys' => array(), 'checks' => array() );
		$with   = static function ( array $more ) use ( $table, $column ) {
			return array( 'columns' => array( $more + $column ) ) + $table;
		};
		$cases  = array(
			'name'                           => array( array( 'name' => 'other_x' ) + $table, array( 'name' => 'wp_wpclone_new_1' ) + $table, array( 'name' => 'wp_WPclone_job' ) + $table, array( 'name' => 'wp_' . str_repeat( 'x', 62 ) ) + $table, array( 'name' => 'wp_x ' ) + $table, array( 'name' => "wp_\u{1F600}" ) + $table ),
			'columns.0.type'                 => array( $with( array( 'type' => 'int) ENGINE=CSV; --' ) ), $with( array( 'type' => "enum('a') DEFAULT (sleep(9))" ) ), $with( array( 'type' => "enum('a'b')" ) ), $with( array( 'type' => 'varchar(10) CHARACTER SET utf8' ) ), $with( array( 'type' => "set('\\')" ) ), $with( array( 'type' => array() ) ) ),
			'columns.0.charset'              => array( $with( array( 'type' => 'text', 'charset' => 'klingon', 'collation' => 'klingon_ci' ) ) ),
			'columns.0.name'                 => array( $with( array( 'name' => '' ) ), $with( array( 'name' => str_repeat( 'x', 65 ) ) ), $with( array( 'name' => "a\0b" ) ) ),
			'columns.0.srid'                 => array( $with( array( 'srid' => -1 ) ), $with( array( 'srid' => '0 */, b INT /*' ) ) ),
			'columns'                        => array( array( 'columns' => array() ) + $table, array( 'columns' => array( $column, array( 'name' => 'A' ) + $column ) ) + $table ),
			'columns.0.default.expression'   => array( $with( array( 'default' => array( 'expression' => 'sleep(5)' ) ) ), $with( array( 'default' => array( 'expression' => '(select 1)' ) ) ) ),
			'columns.0.generated.expression' => array( $with( array( 'generated' => array( 'expression' => "load_file('/etc/passwd')", 'stored' => true ) ) ) ),
			'checks.0.expression'            => array( array( 'checks' => array( array( 'name' => 'c', 'expression' => '1) , (2' ) ) ) + $table ),
			'indexes.0.parts.0.column'       => array( array( 'indexes' => array( array( 'name' => 'i', 'unique' => false, 'kind' => 'BTREE', 'comment' => '', 'parts' => array( array( 'column' => 'b) , KEY (a', 'length' => null, 'descending' => false ) ) ) ) ) + $table ),
			'indexes.0.kind'                 => array( array( 'indexes' => array( array( 'name' => 'i', 'unique' => false, 'kind' => 'BTREE', 'comment' => '', 'parts' => array() ) ) ) + $table ),
			'charset'                        => array( array( 'charset' => 'klingon' ) + $table ),
			'kind'                           => array( array( 'kind' => 'view', 'name' => 'wp_v', 'select' => 'select 1', 'security' => 'DEFINER', 'check_option' => 'NONE' ), array( 'kind' => 'trigger', 'name' => 't', 'table' => 'wp_posts', 'timing' => 'AFTER', 'event' => 'INSERT', 'body' => 'SET @x = 1' ) ),
		);
		foreach ( $cases as $field => $definitions ) {
			foreach ( $definitions as $i => $definition ) {
				$wrong = $site->request_error( 'define', array( 'job' => $job, 'definition' => $definition ) );
				same( array( 422, 'rejected', $field ), array( $wrong['status'], $wrong['error'], $wrong['field'] ?? '' ), "$field $i" );
			}
		}
		same( 0, count( preg_grep( '/_new_\d+\z/', $site->plugin_tables() ) ), 'no table' );
		// Each server has a collation that the other one does not have.
		$near = $site->is_mariadb() ? 'utf8mb4_uca1400_nopad_ai_ci' : 'utf8mb4_0900_ai_ci';
		$far  = $site->is_mariadb() ? 'utf8mb4_0900_ai_ci' : 'utf8mb4_uca1400_ai_ci';
		$made = $site->request_ok( 'define', array( 'job' => $job, 'definition' => array( 'engine' => 'CONNECT', 'collation' => $far, 'partitioned' => true, 'comment' => "'; DROP TABLE wp_posts; -- \\" ) + $with( array( 'name' => '`; DROP TABLE wp_posts; --', 'type' => 'varchar(20)', 'charset' => 'utf8', 'collation' => 'utf8_unicode_ci', 'comment' => "\\'; --", 'default' => array( 'text' => "\\'; --" ) ) ) ) );
		same( array( 'engine', 'columns.0.collation', 'collation', 'partitioned' ), array_column( $made['adjustments'], 'field' ), 'adjusted' );
		same( array( 'InnoDB', 'utf8mb3_unicode_ci', $near, false ), array_column( $made['adjustments'], 'to' ), 'to' );
		check( null !== $site->value( 'SELECT COUNT(*) FROM wp_posts' ), 'wp_posts is there' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		$site->request_ok( 'begin', array( 'job' => $job, 'allow' => array( 'views', 'triggers' ) ) );
		foreach ( array( 'delete from wp_posts', 'select 1; drop table wp_posts', 'with x as (select 1) delete from wp_posts' ) as $i => $select ) {
			$answer = $site->request( 'define', array( 'job' => $job, 'definition' => array( 'kind' => 'view', 'name' => "wp_v$i", 'select' => $select, 'security' => 'DEFINER', 'check_option' => 'NONE' ) ) );
			same( 0 === $i ? 422 : 200, $answer->status, $select );
		}
		$site->until_done( 'prepare', array( 'job' => $job ) );
		// What is no query is none for the database either.
		same( array( 1064, 1064 ), array_column( $site->until_done( 'swap', array( 'job' => $job ) )['rejected'], 'errno' ), 'rejected' );
		check( null !== $site->value( 'SELECT COUNT(*) FROM wp_posts' ) && '0' !== $site->value( 'SELECT COUNT(*) FROM wp_posts' ), 'wp_posts has its rows' );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'while import is disabled every import route is 403',
	static function () use ( $site ) {
		$state = $site->access_window();
		$site->sql( "UPDATE wp_wpclone_migrator SET value = REPLACE(value, '\"import_enabled\":true', '\"import_enabled\":false') WHERE name = 'access_window'" );
		foreach ( array( 'begin', 'define', 'load-rows', 'store-files', 'staged-index', 'prepare', 'swap', 'rollback', 'commit', 'abort' ) as $route ) {
			$got = $site->request( $route, array( 'job' => random_job() ) );
			same( array( 403, '{}' ), array( $got->status, $got->body ), $route );
		}
		same( array(), $site->plugin_tables(), 'tables' );
		$site->sql( "UPDATE wp_wpclone_migrator SET value = '$state' WHERE name = 'access_window'" );
	}
);

test(
	'a chunk of 16 MB needs less than 16 MB of memory, whatever it contains',
	static function () use ( $site ) {
		list( $job, $n ) = job_with_table( $site, 'wp_src_InnoDB' );
		$rows            = array();
		for ( $i = 1; $i <= 150000; $i++ ) {
			$rows[] = array( (string) $i, null, 'b' );
		}
		$peaks = array();
		$got   = $site->request( 'load-rows', chunk( $job, $n, 1, $rows ) );
		same( 200, $got->status, 'small rows' );
		$peaks['small rows'] = $got->peak - $got->baseline;
		$frames              = array();
		for ( $i = 0; $i < 4; $i++ ) {
			$frames[] = array( 'R', implode( '', array_map( static function ( $j ) use ( $i ) {
				return pack( 'NNN', 6, 131072, 1 ) . ( 200000 + 100 * $i + $j ) . str_repeat( "'", 131072 ) . 'b';
			}, range( 10, 40 ) ) ) );
		}
		$got = $site->request( 'load-rows', Test_Site::encode_frames( array( 'job' => $job, 'table_id' => $n, 'chunk' => 2 ), $frames ) );
		same( 200, $got->status, "rows of quotes: {$got->body}" );
		$peaks['rows of quotes'] = $got->peak - $got->baseline;
		$frames                  = array( array( 'R', pack( 'NNN', 1, 0xFFFFFFFE, 1 ) . '0' . pack( 'J', 15000000 ) . hash( 'sha256', str_repeat( "\0", 15000000 ), true ) . 'b' ) );
		for ( $at = 0; $at < 15000000; $at += 3000000 ) {
			$frames[] = array( 'P', pack( 'nJ', 1, $at ) . str_repeat( "\0", 3000000 ) );
		}
		$got = $site->request( 'load-rows', Test_Site::encode_frames( array( 'job' => $job, 'table_id' => $n, 'chunk' => 3 ), $frames ) );
		same( 200, $got->status, "a large value: {$got->body}" );
		$peaks['a large value'] = $got->peak - $got->baseline;
		foreach ( $peaks as $what => $bytes ) {
			check( $bytes <= 16 * 1048576, "$what: $bytes bytes" );
		}
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'foreign keys to other applications, or from tables that stay, are rejected; an interrupted prepare can be repeated',
	static function () use ( $site ) {
		// MySQL requires a unique key there by default; MariaDB does not know the variable.
		mysqli_query( $site->link, 'SET SESSION restrict_fk_on_non_standard_key = 0' );
		$site->sql( 'CREATE TABLE wp_a (id INT PRIMARY KEY, often INT, KEY often (often)) ENGINE=InnoDB' );
		$site->sql( 'CREATE TABLE wp_b (id INT PRIMARY KEY, often INT, CONSTRAINT keeps FOREIGN KEY (id) REFERENCES wp_a (id), CONSTRAINT to_many FOREIGN KEY (often) REFERENCES wp_a (often)) ENGINE=InnoDB' );
		$site->sql( 'CREATE TABLE other (id INT PRIMARY KEY) ENGINE=InnoDB' );
		$all = definitions( $site );
		$b   = $all['table wp_b'];
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$n = import_table( $site, $job, $all['table wp_a'] )['table_id'];
		$wrong = $site->request_error( 'prepare', array( 'job' => $job ) );
		same( array( 'rejected', 'wp_b' ), array( $wrong['error'], $wrong['table'] ), 'what stays' );
		$b['foreign_keys'][0]['table'] = 'other';
		$m = $site->request_ok( 'define', array( 'job' => $job, 'definition' => $b ) )['table_id'];
		$site->request_ok( 'load-rows', chunk( $job, $m, 1, array(), array( 'last' => true ) ) );
		same( 'foreign_keys.0.table', $site->request_error( 'prepare', array( 'job' => $job ) )['field'], 'out of the site' );
		$site->request_ok( 'define', array( 'job' => $job, 'definition' => $all['table wp_b'], 'recreate' => true ) );
		$site->request_ok( 'load-rows', chunk( $job, $m, 1, array(), array( 'last' => true ) ) );
		for ( $point = 1; null === $site->request( 'prepare', array( 'job' => $job ), $point ) && $point < 100; $point++ );
		same( 'prepared', $site->request_ok( 'begin', array( 'job' => $job ) )['phase'], 'prepared' );
		same( array( array( "wp_wpclone_new_$n" ), array( "wp_wpclone_new_$n" ) ), $site->rows( "SELECT REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'site' AND TABLE_NAME = 'wp_wpclone_new_$m'" ), 'foreign keys' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		$site->sql( 'DROP TABLE wp_b, wp_a, other' );
	}
);
