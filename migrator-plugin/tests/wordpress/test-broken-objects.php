<?php
/**
 * Sites with objects that their database cannot read: each is listed with what the database says, and the rest is exported.
 * Objects that the database does not accept in an import are named, and can be left out of the job.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

$site->load_plugin();
$folder = "{$site->server->folder}/data/site";

$site->sql( 'CREATE TABLE wp_lost (id INT PRIMARY KEY, v TEXT) ENGINE=InnoDB' );
$site->sql( "INSERT INTO wp_lost VALUES (1, 'x')" );
$site->sql( 'ALTER TABLE wp_lost DISCARD TABLESPACE' );
$site->sql( 'CREATE TABLE wp_crashed (id INT PRIMARY KEY, v TEXT) ENGINE=MyISAM' );
$site->sql( "INSERT INTO wp_crashed VALUES (1, 'x'), (2, 'y')" );
$site->sql( 'FLUSH TABLES wp_crashed' );
$index = fopen( "$folder/wp_crashed.MYI", 'r+b' );
ftruncate( $index, 300 );
fclose( $index );
$site->sql( 'CREATE TABLE wp_no_data (id INT PRIMARY KEY) ENGINE=MyISAM' );
$site->sql( 'FLUSH TABLES wp_no_data' );
unlink( "$folder/wp_no_data.MYD" );
$site->sql( 'CREATE TABLE wp_gone (id INT)' );
$site->sql( 'CREATE VIEW wp_seen AS SELECT id FROM wp_gone' );
$site->sql( 'CREATE VIEW wp_of_view AS SELECT id FROM wp_seen' );
$site->sql( 'DROP TABLE wp_gone' );
$site->sql( 'CREATE TABLE wp_whole (id INT PRIMARY KEY, v VARCHAR(20))' );
$site->sql( "INSERT INTO wp_whole VALUES (1, 'x'), (2, 'y')" );
$site->sql( 'FLUSH TABLES' );

test(
	'damaged tables and views on nothing are listed with the number and the words of the database, and all others as ever',
	static function () use ( $site ) {
		$all = definitions( $site );
		foreach ( array( 'wp_lost' => 'table', 'wp_crashed' => 'table', 'wp_no_data' => 'table', 'wp_seen' => 'view', 'wp_of_view' => 'view' ) as $name => $object ) {
			$found = $all[ "unreadable $name" ] ?? null;
			check( null !== $found, "$name is listed" );
			same( $object, $found['object'], $name );
			check( $found['errno'] > 0 && '' !== $found['message'] && strlen( $found['message'] ) <= 1200, "$name: " . json_encode( $found ) );
			check( ! isset( $all[ "$object $name" ] ), "$name is no $object" );
		}
		check( false !== strpos( $all['unreadable wp_lost']['message'], 'wp_lost' ), 'the words name the table' );
		check( isset( $all['table wp_whole'], $all['table wp_posts'] ), 'the others' );
		same( array( 2, '' ), array( export_chunks( $site, 'wp_whole' )[1], $site->request( 'rows', array( 'table' => 'wp_whole' ) )->json['error'] ?? '' ), 'rows of the others' );
	}
);

test(
	'reading a damaged table is an error about this table that does not pass, with the number and words of the database',
	static function () use ( $site ) {
		foreach ( array( 'wp_lost', 'wp_crashed', 'wp_no_data' ) as $table ) {
			foreach ( array( 'rows', 'checksum' ) as $route ) {
				$wrong = $site->request_error( $route, array( 'table' => $table ) );
				same( 'database_error', $wrong['error'], "$route of $table" );
				check( $wrong['errno'] > 0 && '' !== $wrong['message'], json_encode( $wrong ) );
			}
		}
		$log = (string) file_get_contents( "{$site->server->folder}/php.log" );
		check( false !== strpos( $log, 'database_error' ) && false === strpos( $log, 'crashed' ), 'the log has no words' );
	}
);

test(
	'a lock is an error that passes, and holds no request for long',
	static function () use ( $site ) {
		$other = $site->server->link( 'site' );
		mysqli_query( $other, 'LOCK TABLES wp_whole WRITE' );
		$wrong = $site->request_error( 'rows', array( 'table' => 'wp_whole' ) );
		mysqli_query( $other, 'UNLOCK TABLES' );
		same( array( 'database_busy', 1205 ), array( $wrong['error'], $wrong['errno'] ), 'error' );
	}
);

test(
	'a table that the database does not accept is named, and the job goes on without it',
	static function () use ( $site ) {
		$all                  = definitions( $site );
		$bad                  = $all['table wp_whole'];
		$bad['name']          = 'wp_bad';
		// Two columns cannot count.
		$bad['columns'][0]['auto_increment'] = true;
		$bad['columns'][1]                   = array( 'name' => 'v' ) + $bad['columns'][0];
		$job                  = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		import_table( $site, $job, $all['table wp_whole'] );
		$wrong = $site->request_error( 'define', array( 'job' => $job, 'definition' => $bad ) );
		same( 'database_error', $wrong['error'], 'define' );
		check( 1075 === $wrong['errno'] && '' !== $wrong['message'], json_encode( $wrong ) );
		same( 'incomplete', $site->request_error( 'prepare', array( 'job' => $job ) )['error'], 'with it' );
		$site->request_ok( 'omit', array( 'job' => $job, 'table' => 'wp_bad' ) );
		$site->request_ok( 'omit', array( 'job' => $job, 'table' => 'wp_bad' ) );
		// One that was created and loaded is dropped.
		$good         = $all['table wp_whole'];
		$good['name'] = 'wp_good';
		$made         = $site->request_ok( 'define', array( 'job' => $job, 'definition' => $good ) );
		check( false !== strpos( $made['statement'], 'CREATE TABLE' ), 'statement' );
		$site->request_ok( 'omit', array( 'job' => $job, 'table' => 'wp_good' ) );
		same( 1, count( preg_grep( '/_new_\d+\z/', $site->plugin_tables() ) ), 'staged tables' );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		$site->until_done( 'abort', array( 'job' => $job ) );
		same( array(), $site->plugin_tables(), 'nothing is left' );
	}
);

test(
	'a foreign key that the database does not accept is named, and the others are added',
	static function () use ( $site ) {
		$site->sql( 'CREATE TABLE wp_one (id INT PRIMARY KEY) ENGINE=InnoDB' );
		$site->sql( 'CREATE TABLE wp_two (id INT PRIMARY KEY, v INT, KEY v (v), CONSTRAINT good FOREIGN KEY (id) REFERENCES wp_one (id), CONSTRAINT bad FOREIGN KEY (v) REFERENCES wp_one (id)) ENGINE=InnoDB' );
		$all = definitions( $site );
		$two = $all['table wp_two'];
		foreach ( $two['foreign_keys'] as $i => $key ) {
			if ( 'bad' === $key['name'] ) {
				$two['foreign_keys'][ $i ]['references'] = array( 'no_such_column' );
			}
		}
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		import_table( $site, $job, $all['table wp_one'] );
		import_table( $site, $job, $two );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		$rejected = $site->until_done( 'swap', array( 'job' => $job ) )['rejected'];
		same( array( array( 'foreign_key', 'wp_two.bad' ) ), array_map( static function ( $one ) { return array( $one['kind'], $one['name'] ); }, $rejected ), 'rejected' );
		check( $rejected[0]['errno'] > 0 && '' !== $rejected[0]['message'], json_encode( $rejected ) );
		same( '1', $site->value( "SELECT COUNT(*) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'site' AND TABLE_NAME = 'wp_two'" ), 'foreign keys' );
		$site->until_done( 'commit', array( 'job' => $job ) );
		$site->sql( 'DROP TABLE wp_two, wp_one' );
	}
);
