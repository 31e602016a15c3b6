<?php
/**
 * A complete export and import in as few requests as possible, so that they can be answered by a PHP that loads WordPress
 * for each request: the oldest and the newest supported version, and one with the limits of a small host.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';
require __DIR__ . '/../support/file-helpers.php';

$site->load_plugin();

/** The maximum budget of a request. */
const BYTES = 8388608;

/** With a small host's memory, everything is larger than that memory: a row, a table, a file. */
$much    = 'small' === $site->php->name ? 8 : 1;
$uploads = "{$site->path}/wp-content/uploads";

$is_mariadb = $site->is_mariadb();
$types      = $is_mariadb ? 'i6 INET6, u UUID' : 'o VECTOR(3), x INT INVISIBLE';
$values     = $is_mariadb ? "_latin1'::ffff:1.2.3.4', _latin1'123e4567-e89b-12d3-a456-426655440000'" : "TO_VECTOR('[1,-2.5,0]'), NULL";
$site->sql(
	"CREATE TABLE wp_kinds (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, a DECIMAL(65,30), b DOUBLE, c FLOAT, d BIT(64), e YEAR, f DATE NOT NULL DEFAULT '0000-00-00', g DATETIME(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), h TIMESTAMP NULL, i TIME(3), j VARCHAR(40) CHARACTER SET latin1 NOT NULL DEFAULT 'é\\'\\\\', k TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci, l VARCHAR(20) CHARACTER SET sjis, m BINARY(4), n LONGBLOB, o1 ENUM('a','it''s','ä') CHARACTER SET latin1, p SET('x','y z') NOT NULL, q JSON, r POINT, s VARCHAR(41) CHARACTER SET latin1 AS (CONCAT(j, '!')) VIRTUAL, $types, PRIMARY KEY (id), KEY j (j), CHECK (e <> 1999)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='it''s näive %'"
);
$columns = '(id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o1, p, q, r, ' . ( $is_mariadb ? 'i6, u' : 'o, x' ) . ')';
$site->sql( "INSERT INTO wp_kinds $columns VALUES (1,'-12345678901234567890123456789012345.123456789012345678901234567890',1.7976931348623157e308,3.4028234e38,18446744073709551615,1901,'2021-02-31','9999-12-31 23:59:59.999999','2021-03-28 02:30:00','-838:59:59',x'c3a9',_utf8mb4 x'f09f9880',x'955c',x'0001',x'0001fffe275c0d0a1a','it''s','x,y z',_utf8mb4'{\"a\":[1,2.50]}',POINT(1.5,-2),$values),(18446744073709551614,NULL,0.1,0.1,NULL,NULL,'0000-00-00',NULL,NULL,NULL,'',NULL,NULL,NULL,NULL,NULL,'',NULL,NULL,NULL,NULL)" );
$site->sql( 'CREATE TABLE wp_same (a INT, b VARCHAR(20)) ENGINE=MyISAM DEFAULT CHARSET=latin1' );
$site->sql( "INSERT INTO wp_same VALUES (1,'x'),(1,'x'),(NULL,NULL)" );
// One row of six long values, together larger than PHP's memory.
$site->sql( 'CREATE TABLE wp_long (id INT PRIMARY KEY, a LONGTEXT, b LONGTEXT, c LONGBLOB, d LONGBLOB, e LONGTEXT, f LONGTEXT) CHARSET=utf8mb4' );
$site->sql( "INSERT INTO wp_long (id, a, b) VALUES (1, 'x', NULL), (2, NULL, ''), (3, '', '')" );
foreach ( array( 'a' => "'é'", 'b' => "'\\''", 'c' => "x'00'", 'd' => "x'5c27'", 'e' => "'abc\\n'", 'f' => "'%s'" ) as $column => $unit ) {
	$site->sql( "UPDATE wp_long SET $column = REPEAT($unit, FLOOR(1500000 * $much / LENGTH($unit))) WHERE id = 2" );
}
$site->sql( 'CREATE TABLE wp_many (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(3000), KEY v (v(10))) CHARSET=latin1' );
$site->sql( "INSERT INTO wp_many (v) SELECT REPEAT(SHA2(seq, 256), 40) FROM (WITH RECURSIVE s(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < 1000) SELECT seq FROM s) q" );
for ( $i = 0; $i < $much; $i++ ) {
	$site->sql( 'INSERT INTO wp_many (v) SELECT CONCAT(id, SUBSTRING(v, 9)) FROM wp_many WHERE id <= 2000' );
}
// What the tables are compared with; the plugin does not touch these copies.
const TABLES = array( 'wp_kinds', 'wp_same', 'wp_long', 'wp_many' );
$shapes      = array();
foreach ( TABLES as $table ) {
	$site->sql( "CREATE TABLE kept_$table LIKE $table" );
	$columns = implode( ', ', array_column( array_filter( $site->rows( "SHOW COLUMNS FROM $table" ), static function ( $row ) { return 1 !== preg_match( '/(?:VIRTUAL|STORED) GENERATED/', $row[5] ); } ), 0 ) );
	$site->sql( "INSERT INTO kept_$table ($columns) SELECT $columns FROM $table" );
	$shapes[ $table ] = create_table_sql( $site, $table );
}

mkdir( "$uploads/2020/empty", 0755, true );
foreach ( array( 'none' => '', "2020/\u{1F600} \u{e9}.txt" => 'smile', '2020/quotes\'".txt' => "a\0b\r\n" ) as $path => $bytes ) {
	file_put_contents( "$uploads/$path", $bytes );
}
for ( $i = 0; $i < 300; $i++ ) {
	file_put_contents( "$uploads/2020/file$i.bin", str_repeat( chr( $i % 256 ), 37 * $i ) );
}
$long = fopen( "$uploads/long.bin", 'wb' );
for ( $i = 0; $i < 9 * $much; $i++ ) {
	fwrite( $long, str_repeat( hash( 'sha256', (string) $i, true ), 32768 ) );
}
fclose( $long );
touch( "$uploads/2020/file7.bin", 1234567890 );
chmod( "$uploads/2020/file8.bin", 0600 );
$tree = folder_contents( $uploads );

/** Checks that all tables are unchanged. */
function same_tables( Test_Site $site, array $shapes ): void {
	foreach ( TABLES as $table ) {
		same( $shapes[ $table ], create_table_sql( $site, $table ), "shape of $table" );
		if ( in_array( $table, array( 'wp_long', 'wp_many' ), true ) ) {
			$equal = 'wp_many' === $table ? 'n.v <=> BINARY o.v' : implode( ' AND ', array_map( static function ( $column ) { return "n.$column <=> BINARY o.$column"; }, range( 'a', 'f' ) ) );
			$rows  = $site->value( "SELECT COUNT(*) FROM kept_$table" );
			same( array( $rows, $rows ), array( $site->value( "SELECT COUNT(*) FROM $table" ), $site->value( "SELECT COUNT(*) FROM $table n JOIN kept_$table o ON n.id = o.id AND $equal" ) ), "rows of $table" );
		} else {
			same( rows_as_hex( $site, "kept_$table" ), rows_as_hex( $site, $table ), "rows of $table" );
		}
	}
}

test(
	'the intended PHP answers, with the intended limits',
	static function () use ( $site ) {
		$name  = $site->php->name;
		$facts = $site->request( 'status' )->php;
		if ( '' !== $name ) {
			$limits = array( 'memory_limit' => '64M', 'max_execution_time' => '10', 'runs_programs' => array(), 'unzips' => false );
			same( $limits, array_intersect_key( $facts, $limits ), 'limits' );
		}
		if ( 'small' === $name ) {
			same( array(), array_intersect( array( 'zip', 'Phar', 'mbstring', 'posix', 'curl' ), $facts['extensions'] ), 'extensions' );
		} elseif ( '' !== $name ) {
			same( 0, strpos( $facts['version'], $name ), "version {$facts['version']}" );
		}
	}
);

/** The job of all following tests. */
$job = random_job();

test(
	'tables and files are exported and imported',
	static function () use ( $site, $job, $tree ) {
		check( isset( $site->request_ok( 'manifest' )['roots'] ), 'manifest' );
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
		$all = definitions( $site );
		foreach ( TABLES as $table ) {
			import_table( $site, $job, $all[ "table $table" ], null, BYTES );
		}
		$index = export_index( $site, 'uploads' );
		same( array_keys( $tree ), array_keys( $index ), 'index' );
		foreach ( $tree as $path => $entry ) {
			same( array_slice( $entry, 0, 4 ), array_slice( $index[ $path ], 0, 4 ), $path );
		}
		import_files( $site, $job, 'uploads', $index, BYTES );
	}
);

/** What changes on the site in the meantime, and has to be back after a rollback. */
foreach ( TABLES as $table ) {
	$site->sql( "DELETE FROM $table LIMIT 1" );
}
file_put_contents( "$uploads/none", 'changed' );
unlink( "$uploads/long.bin" );
$changed = folder_contents( $uploads );

test(
	'prepared, swapped, rolled back, killed during a swap and resumed, the site is always one or the other; a commit leaves nothing behind',
	static function () use ( $site, $job, $shapes, $tree, $changed, $uploads ) {
		$site->until_done( 'prepare', array( 'job' => $job ) );
		same( $changed, folder_contents( $uploads ), 'prepared' );
		$site->until_done( 'swap', array( 'job' => $job ) );
		same( $tree, folder_contents( $uploads ), 'swapped' );
		same_tables( $site, $shapes );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		same( $changed, folder_contents( $uploads ), 'rolled back' );
		same( '1', $site->value( 'SELECT (SELECT COUNT(*) FROM kept_wp_many) - COUNT(*) FROM wp_many' ), 'rolled back' );
		same( null, $site->request( 'swap', array( 'job' => $job ), 9 ), 'killed' );
		$site->until_done( 'swap', array( 'job' => $job ) );
		same( $tree, folder_contents( $uploads ), 'swapped again' );
		same_tables( $site, $shapes );
		$site->until_done( 'commit', array( 'job' => $job ) );
		same( array(), array_merge( $site->plugin_tables(), $site->staging_folders() ), 'nothing is left' );
	}
);

// Other PHPs here have no such limit, or do not enforce it.
if ( 'small' === $site->php->name ) {
	test(
		'a request for a minute of work stops within PHP\'s limit of two seconds, and the next one resumes there',
		static function () use ( $site, $uploads ) {
			// A sparse file that takes longer than two seconds to read.
			$hollow = fopen( "$uploads/hollow", 'wb' );
			ftruncate( $hollow, 40 * 1073741824 );
			fclose( $hollow );
			$site->php->limits['max_execution_time'] = '2';
			$cursor = null;
			for ( $i = 0; $i < 2; $i++ ) {
				$got  = $site->request( 'index', array( 'root' => 'uploads', 'digests' => true, 'ms' => 60000, 'bytes' => BYTES, 'cursor' => $cursor ) );
				check( 200 === $got->status && ! isset( $got->json['error'] ), 'index: ' . json_encode( $got->json ) );
				$from   = $cursor['o'] ?? 0;
				$cursor = $got->json['cursor'];
				check( $cursor['o'] > $from, "continues after $from" );
			}
		}
	);
}
