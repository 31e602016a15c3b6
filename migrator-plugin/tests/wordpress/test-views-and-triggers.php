<?php
/**
 * What surrounds tables: triggers and views are the same in the copy, and what is not copied is named.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

$site->load_plugin();

/** Swaps in what a job has imported; the database accepts all of it. */
function swap_in( Test_Site $site, string $job ): void {
	$site->until_done( 'prepare', array( 'job' => $job ) );
	same( array(), $site->until_done( 'swap', array( 'job' => $job ) )['rejected'], 'rejected' );
	$site->until_done( 'commit', array( 'job' => $job ) );
}

/** Imports wp_probe with these triggers and views, and swaps it in. */
function replace_probe( Test_Site $site, array $objects ): void {
	$all = definitions( $site );
	$job = random_job();
	$site->request_ok( 'begin', array( 'job' => $job, 'allow' => array( 'views', 'triggers' ) ) );
	import_table( $site, $job, $all['table wp_probe'] );
	foreach ( $objects as $object ) {
		$site->request_ok( 'define', array( 'job' => $job, 'definition' => $all[ $object ] ) );
	}
	swap_in( $site, $job );
}

test(
	'triggers run in their order and with the modes that they were created with',
	static function () use ( $site ) {
		$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY, v VARCHAR(20))' );
		$site->sql( "SET SESSION sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES'" );
		$site->sql( 'CREATE TRIGGER wp_z BEFORE INSERT ON wp_probe FOR EACH ROW SET NEW.v = NEW.v || \'z\'' );
		$site->sql( 'CREATE TRIGGER wp_m BEFORE INSERT ON wp_probe FOR EACH ROW SET NEW.v = NEW."v" || \'m\'' );
		$site->sql( "SET SESSION sql_mode = ''" );
		$site->sql( 'CREATE TRIGGER wp_a BEFORE INSERT ON wp_probe FOR EACH ROW SET NEW.v = CONCAT(NEW.v, IF(1 || 0, "a", ""))' );
		$select = "SELECT TRIGGER_NAME, ACTION_ORDER, ACTION_STATEMENT, SQL_MODE FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_TABLE = 'wp_probe' ORDER BY 2";
		$before = $site->rows( $select );
		same( array( 'wp_z', 'wp_m', 'wp_a' ), array_column( $before, 0 ), 'order at the source' );
		replace_probe( $site, array( 'trigger wp_a', 'trigger wp_m', 'trigger wp_z' ) );
		$after = $site->rows( $select );
		// The names of the former table's triggers were taken until the commit.
		same( array_column( $before, 2 ), array_column( $after, 2 ), 'statements' );
		same( array_column( $before, 3 ), array_column( $after, 3 ), 'modes' );
		$site->sql( "INSERT INTO wp_probe VALUES (1, 'x')" );
		same( 'xzma', $site->value( 'SELECT v FROM wp_probe' ), 'result' );
		$site->sql( 'DROP TABLE wp_probe' );
	}
);

test(
	'a mode that this server does not know is left out',
	static function () use ( $site ) {
		$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY, v VARCHAR(20))' );
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'allow' => array( 'triggers' ) ) );
		import_table( $site, $job, definitions( $site )['table wp_probe'] );
		$trigger = array( 'kind' => 'trigger', 'name' => 'wp_z', 'table' => 'wp_probe', 'timing' => 'BEFORE', 'event' => 'INSERT', 'body' => 'SET NEW.v = NEW.v || \'z\'', 'definer' => 'x@y' );
		foreach ( array( "ANSI'", 'ansi', 7, array() ) as $mode ) {
			same( 'sql_mode', $site->request_error( 'define', array( 'job' => $job, 'definition' => $trigger + array( 'sql_mode' => $mode ) ) )['field'], 'no mode' );
		}
		$site->request_ok( 'define', array( 'job' => $job, 'definition' => $trigger + array( 'sql_mode' => 'NO_SUCH_MODE,PIPES_AS_CONCAT' ) ) );
		swap_in( $site, $job );
		$site->sql( "INSERT INTO wp_probe VALUES (1, 'x')" );
		same( 'xz', $site->value( 'SELECT v FROM wp_probe' ), 'result' );
		$site->sql( 'DROP TABLE wp_probe' );
	}
);

test(
	'the algorithm of a view is preserved',
	static function () use ( $site ) {
		$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY)' );
		$site->sql( 'INSERT INTO wp_probe VALUES (1)' );
		foreach ( array( 'TEMPTABLE', 'MERGE', 'UNDEFINED' ) as $algorithm ) {
			$site->sql( "CREATE ALGORITHM = $algorithm DEFINER = site@localhost VIEW wp_view (id) AS SELECT id FROM wp_probe" );
			same( $algorithm, definitions( $site )['view wp_view']['algorithm'], 'definition' );
			$before = $site->rows( 'SHOW CREATE VIEW wp_view' )[0][1];
			replace_probe( $site, array( 'view wp_view' ) );
			same( $before, $site->rows( 'SHOW CREATE VIEW wp_view' )[0][1], 'view' );
			$site->sql( 'DROP VIEW wp_view' );
		}
		$site->sql( 'DROP TABLE wp_probe' );
	}
);

test(
	'procedures, functions and events are named',
	static function () use ( $site ) {
		$site->sql( 'CREATE PROCEDURE `do it` () SELECT 1' );
		$site->sql( 'CREATE FUNCTION wp_add (x INT) RETURNS INT DETERMINISTIC RETURN x + 1' );
		$site->sql( 'CREATE EVENT wp_nightly ON SCHEDULE EVERY 1 DAY DO SELECT 1' );
		$programs = array_filter( definitions( $site ), static function ( $definition ) { return 'program' === $definition['kind']; } );
		$wanted   = array( array( 'event', 'wp_nightly' ), array( 'function', 'wp_add' ), array( 'procedure', 'do it' ) );
		same( $wanted, array_map( static function ( $program ) { return array( $program['object'], $program['name'] ); }, array_values( $programs ) ), 'programs' );
		foreach ( array( 'PROCEDURE `do it`', 'FUNCTION wp_add', 'EVENT wp_nightly' ) as $program ) {
			$site->sql( "DROP $program" );
		}
	}
);

test(
	'a view of any query, with names of its own for its columns, is the same in the copy',
	static function () use ( $site ) {
		$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY)' );
		$site->sql( 'INSERT INTO wp_probe VALUES (1), (2)' );
		$queries = array(
			'SELECT id FROM wp_probe WHERE id < 2 WITH CASCADED CHECK OPTION',
			'WITH few AS (SELECT id FROM wp_probe WHERE id < 2) SELECT id FROM few',
			'WITH few (n) AS (SELECT id FROM wp_probe), more AS (SELECT n FROM few) SELECT MAX(n) FROM more',
			'WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < 5) SELECT n FROM numbers',
			'(SELECT id FROM wp_probe) UNION (SELECT 7)',
			'SELECT (SELECT MAX(id) FROM wp_probe)',
		);
		if ( ! $site->is_mariadb() ) {
			$queries[] = '(WITH few AS (SELECT id FROM wp_probe) SELECT id FROM few) UNION SELECT 7';
			$queries[] = 'VALUES ROW(1), ROW(2)';
			$queries[] = 'TABLE wp_probe';
		}
		foreach ( $queries as $query ) {
			foreach ( array( '', ' (`own ``name`)' ) as $columns ) {
				$site->sql( "CREATE DEFINER = site@localhost VIEW wp_view$columns AS $query" );
				$select = static function () use ( $site ) {
					$rows = $site->rows( 'SELECT * FROM wp_view' );
					sort( $rows );
					return array( $site->rows( 'SHOW COLUMNS FROM wp_view' ), $rows );
				};
				$before = $select();
				replace_probe( $site, array( 'view wp_view' ) );
				same( $before, $select(), "$columns $query" );
				$site->sql( 'DROP VIEW wp_view' );
			}
		}
		$site->sql( 'DROP TABLE wp_probe' );
	}
);

test(
	'columns that no view can have are rejected',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'allow' => array( 'views' ) ) );
		$view = array( 'kind' => 'view', 'name' => 'wp_view', 'select' => 'select 1', 'security' => 'DEFINER', 'definer' => 'x@y', 'check_option' => 'NONE' );
		foreach ( array( array( 1 ), array( '' ), array( "a\0" ), array( str_repeat( 'a', 65 ) ), array( array() ), array( 'a' => 'b' ), 'a' ) as $columns ) {
			same( 'columns', $site->request_error( 'define', array( 'job' => $job, 'definition' => $view + array( 'columns' => $columns ) ) )['field'], json_encode( $columns ) );
		}
		foreach ( array( 'drop table wp_posts', 'selected', 'set @a = 1', '' ) as $select ) {
			same( 'select', $site->request_error( 'define', array( 'job' => $job, 'definition' => array( 'select' => $select ) + $view ) )['field'], $select );
		}
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'a previous view that the database user may not drop is kept under another name, and the job ends',
	static function () use ( $site ) {
		if ( $site->is_mariadb() ) {
			// Who may drop a view does not depend on its definer.
			return;
		}
		$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY)' );
		$site->sql( 'CREATE DEFINER = root@localhost VIEW wp_view AS SELECT id FROM wp_probe' );
		for ( $round = 1; $round <= 2; ++$round ) {
			replace_probe( $site, array( 'view wp_view' ) );
			same( array(), preg_grep( '/_(?:old|new)_/', $site->plugin_tables() ), 'staged' );
			same( array(), $site->rows( 'SELECT * FROM wp_view' ), 'the new view' );
		}
		$kept = array_column( $site->rows( "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'wp\\_wpclone\\_kept%' AND DEFINER = 'root@localhost'" ), 0 );
		same( 1, count( $kept ), 'kept' );
		$site->sql( "DROP VIEW wp_view, $kept[0]" );
		$site->sql( 'DROP TABLE wp_probe' );
	}
);
