<?php
/**
 * Tables of every kind are imported from the same database under another name, and compared byte for byte by the server.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

$site->load_plugin();
$is_mariadb = $site->is_mariadb();
// MySQL requires parentheses around defaults of long types.
$long = static function ( string $value ) use ( $is_mariadb ) { return $is_mariadb ? $value : "($value)"; };

/** Creates a table, imports it, and checks that both are equal except for the expected adjustments. */
function check_round_trip( Test_Site $site, string $create, array $inserts = array(), array $adjusted = array() ): void {
	$site->sql( "CREATE TABLE wp_probe $create" );
	try {
		foreach ( $inserts as $insert ) {
			$site->sql( "INSERT INTO wp_probe $insert" );
		}
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$made = import_table( $site, $job, definitions( $site )['table wp_probe'] );
		same( create_table_sql( $site, 'wp_probe' ), create_table_sql( $site, "wp_wpclone_new_{$made['table_id']}" ), 'table' );
		$new = rows_as_hex( $site, "wp_wpclone_new_{$made['table_id']}" );
		foreach ( rows_as_hex( $site, 'wp_probe' ) as $i => $row ) {
			same( $row, $new[ $i ], "row $i" );
		}
		same( $adjusted, $made['adjustments'], 'adjusted' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		same( array(), $site->plugin_tables(), 'ours' );
	} finally {
		$site->request( 'abort', array( 'job' => $job ?? random_job() ) );
		$site->sql( 'DROP TABLE wp_probe' );
	}
}

test(
	'numbers are preserved',
	static function () use ( $site ) {
		check_round_trip(
			$site,
			'(id BIGINT UNSIGNED NOT NULL PRIMARY KEY, a TINYINT(4), b MEDIUMINT(9) UNSIGNED ZEROFILL, c DECIMAL(65,30), d DOUBLE, e FLOAT, f FLOAT(7,3), g BIT(1), h BIT(64), i YEAR(4), j DOUBLE(10,2) UNSIGNED NOT NULL DEFAULT 1.50, k BIT(5) DEFAULT b\'101\', l INT NOT NULL DEFAULT -7)',
			array(
				"VALUES (0,-128,7,'-12345678901234567890123456789012345.123456789012345678901234567890',1.7976931348623157e308,3.4028234e38,1234.567,1,18446744073709551615,1901,99.99,31,1)",
				'VALUES (18446744073709551615,127,16777215,0.000000000000000000000000000001,2.2250738585072014e-308,1.17549e-38,0.001,0,0,0,0,0,0)',
				'VALUES (1,NULL,NULL,NULL,0.1,0.1,NULL,NULL,NULL,NULL,0,NULL,2147483647)',
				'VALUES (2,0,0,0,-0e0,1e-45,0,b\'1\',1,2155,0.1,2,-2147483648)',
				'VALUES (3,1,1,1,123456789.123456789,16777217,3.14159,0,9223372036854775808,1970,0.3,3,3)',
			)
		);
	}
);

test(
	'times are preserved, including zero and impossible dates',
	static function () use ( $site ) {
		check_round_trip(
			$site,
			"(id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, a DATE NOT NULL DEFAULT '0000-00-00', b DATETIME(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), c TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, d TIMESTAMP NULL, e TIME(3), f TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00', g DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00')",
			array(
				"VALUES (0,'0000-00-00','0000-00-00 00:00:00','0000-00-00 00:00:00',NULL,'-838:59:59','2038-01-19 03:14:07','2021-02-31 10:00:00')",
				"VALUES (5,'2021-00-00','9999-12-31 23:59:59.999999','2021-03-28 02:30:00','2021-10-31 02:30:00','838:59:59.000','1970-01-01 00:00:01','0000-00-00 00:00:00')",
			)
		);
	}
);

test(
	'text keeps its bytes, including UTF-8 in latin1 columns',
	static function () use ( $site, $long ) {
		check_round_trip(
			$site,
			"(k VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL DEFAULT 'é\\'\\\\', u VARCHAR(191) COLLATE utf8mb4_unicode_520_ci, t TEXT CHARACTER SET utf8mb3 COLLATE utf8mb3_bin, s VARCHAR(20) CHARACTER SET sjis, w VARCHAR(20) CHARACTER SET utf16, x CHAR(3) CHARACTER SET ucs2, a CHAR(10) CHARACTER SET ascii, b BINARY(4), v VARBINARY(20) DEFAULT x'0041', n VARBINARY(20) NOT NULL DEFAULT x'610062', l LONGBLOB, z TINYTEXT DEFAULT {$long( "'a\\nb%'" )}, PRIMARY KEY (k, u(10))) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='it''s näive %'",
			array(
				"VALUES (x'c3a9', _utf8mb4 x'f09f9880', _utf8mb4 x'e282ac', x'955c', x'd83dde00', x'0061', 'a ', 'a', x'0001', x'00', x'0001fffe275c0d0a1a', 'plain %s')",
				"VALUES (x'8190ff', _utf8mb4 x'2020', '', '', '', '', '', x'00000000', '', '', '', '')",
				"VALUES (x'', '\\'\\\\\"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL)",
			)
		);
	}
);

test(
	'enumerations, sets, JSON, geometry and the types that ' . ( $is_mariadb ? 'only MariaDB has' : 'MariaDB 10.11 does not have' ) . ' are preserved',
	static function () use ( $site, $is_mariadb, $long ) {
		$types  = $is_mariadb ? 'i6 INET6, i4 INET4, u UUID' : 'o VECTOR(3), q MULTIPOINT, r MULTIPOLYGON, KEY x ((id + 1) DESC)';
		// The session's strings have no charset.
		$values = $is_mariadb ? "_latin1'::ffff:1.2.3.4', _latin1'10.0.0.1', _latin1'123e4567-e89b-12d3-a456-426655440000'" : "TO_VECTOR('[1,-2.5,0]'), ST_GeomFromText('MULTIPOINT((1 1),(2 2))'), NULL";
		check_round_trip(
			$site,
			"(id INT, e ENUM('a','it''s','ä','b\\\\c',',') CHARACTER SET latin1 DEFAULT 'ä', s SET('x','y z','ü') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'x,ü', j JSON DEFAULT {$long( "'{}'" )}, g GEOMETRY NOT NULL, p POINT, n GEOMETRYCOLLECTION, $types, SPATIAL KEY g (g))",
			array(
				"VALUES (1, 'it''s', 'x,y z', _utf8mb4'{\"a\":[1,2.50,\"\\\\u00e9\"]}', ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326), POINT(1.5,-2), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))'), $values)",
				"VALUES (2, _latin1 x'e4', '', NULL, POINT(0,0), NULL, NULL, NULL, NULL, NULL)",
				"VALUES (3, 4, 'ü', _utf8mb4'[]', POINT(0,0), NULL, NULL, NULL, NULL, NULL)",
				"VALUES (4, 0, 7, _utf8mb4'\"x\"', POINT(0,0), NULL, NULL, NULL, NULL, NULL)",
			)
		);
	}
);

if ( $is_mariadb ) {
	test(
		'addresses and UUIDs are preserved, also in keys and as defaults',
		static function () use ( $site ) {
			check_round_trip(
				$site,
				"(u UUID PRIMARY KEY, i6 INET6 NOT NULL DEFAULT _latin1'::1', i4 INET4 NOT NULL DEFAULT _latin1'10.0.0.1', n UUID, UNIQUE KEY (i6, i4))",
				array(
					"(u) VALUES (_latin1'123e4567-e89b-12d3-a456-426655440000')",
					"VALUES (_latin1'123e4567-e89b-12d3-a456-426655440001', _latin1'::2', _latin1'10.0.0.1', _latin1'00000000-0000-0000-0000-000000000001')",
					"VALUES (_latin1'023e4567-e89b-12d3-a456-426655440002', _latin1'fe80::1', _latin1'255.255.255.255', NULL)",
				)
			);
		}
	);
	test(
		'what the tests above insert as addresses and UUIDs is no NULL',
		static function () use ( $site ) {
			same( array( array( '1', '1', '1' ) ), $site->rows( "SELECT CAST(_latin1'::1' AS INET6) IS NOT NULL, CAST(_latin1'10.0.0.1' AS INET4) IS NOT NULL, CAST(_latin1'123e4567-e89b-12d3-a456-426655440000' AS UUID) IS NOT NULL" ), 'not NULL' );
		}
	);
}

test(
	'a table without a key, with duplicate rows, and tables of MyISAM, ' . ( $is_mariadb ? 'Aria and ' : '' ) . 'MEMORY are preserved',
	static function () use ( $site, $is_mariadb ) {
		foreach ( $is_mariadb ? array( 'InnoDB', 'MyISAM', 'Aria', 'MEMORY' ) : array( 'InnoDB', 'MyISAM', 'MEMORY' ) as $engine ) {
			check_round_trip( $site, "(a INT, b VARCHAR(20), KEY (b) USING BTREE) ENGINE=$engine DEFAULT CHARSET=latin1", array( "VALUES (1,'x'),(1,'x'),(NULL,NULL),(1,'x')" ) );
		}
		check_round_trip( $site, '(a INT, b TEXT, FULLTEXT KEY b (b)) ENGINE=MyISAM ROW_FORMAT=FIXED CHARSET=utf8mb4', array( "VALUES (1,'some words')" ) );
		check_round_trip( $site, '(a INT) ENGINE=MyISAM', array() );
	}
);

test(
	'generated columns, checks and default expressions are preserved' . ( $is_mariadb ? '' : '; the name of a check, which is unique in a MySQL schema, is reported as dropped' ),
	static function () use ( $site, $is_mariadb ) {
		// For a literal without a charset MySQL records that of the session that created the table.
		foreach ( array( 'utf8mb4', 'binary' ) as $names ) {
			$site->sql( "SET NAMES $names" );
			check_round_trip(
				$site,
				"(id INT NOT NULL, name VARCHAR(50) COLLATE utf8mb4_bin CHECK (LENGTH(name) < 40), doc LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin CHECK (JSON_VALID(doc)),
				up VARCHAR(50) AS (UPPER(CONCAT(name, ' it''s \\\\ `x` '))) STORED COMMENT 'c', n INT GENERATED ALWAYS AS (id * 2 - -3 % 5) VIRTUAL, d DATE DEFAULT (CURDATE() + INTERVAL 1 DAY), u VARCHAR(36) DEFAULT (UUID()),
				r VARCHAR(9) AS (CASE WHEN id BETWEEN 1 AND 5 THEN 'a' WHEN name IS NULL OR name IN ('x','y') THEN 'b' ELSE TRIM(BOTH ' ' FROM name) END) VIRTUAL,
				CONSTRAINT both_ok CHECK (id > 0 XOR name LIKE 'x%' AND NOT id <=> 7), KEY n (n), UNIQUE KEY up (up(10)))",
				array( "(id, name, doc) VALUES (1,'né','{\"a\": 1}'),(2,NULL,NULL)" ),
				$is_mariadb ? array() : array( array( 'field' => 'checks.0.name', 'from' => 'both_ok', 'to' => null ) )
			);
		}
	}
);

test(
	'invisible columns' . ( $is_mariadb ? ' are preserved; one without a default becomes visible, which is reported' : ', and geometry with a spatial reference system, are preserved' ),
	static function () use ( $site, $is_mariadb ) {
		$table = '(id INT NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY, a INT INVISIBLE, b VARCHAR(9) NOT NULL DEFAULT \'x\' INVISIBLE COMMENT \'b\', c TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP INVISIBLE, d INT AS (a + 1) STORED INVISIBLE COMMENT \'d\', e INT';
		$rows  = array( "(id, a, b, c, e) VALUES (7,1,'y','2021-02-03 04:05:06',2),(8,NULL,'','2021-02-03 04:05:06',NULL)" );
		check_round_trip( $site, $table . ( $is_mariadb ? ')' : ', f INT NOT NULL INVISIBLE DEFAULT 3, g POINT NOT NULL SRID 4326 DEFAULT (ST_SRID(POINT(1, 2), 4326)), h GEOMETRY SRID 0 INVISIBLE, SPATIAL KEY g (g))' ), $rows );
		$site->sql( 'CREATE TABLE wp_probe (a INT NOT NULL, b INT)' );
		$definition = definitions( $site )['table wp_probe'];
		$job        = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$definition['columns'][0]['invisible'] = true;
		$definition['columns'][1]['srid']      = 4326;
		$definition['columns'][1]['type']      = 'point';
		$made = $site->request_ok( 'define', array( 'job' => $job, 'definition' => $definition ) );
		$lost = array( array( 'field' => 'columns.0.invisible', 'from' => true, 'to' => null ), array( 'field' => 'columns.1.srid', 'from' => 4326, 'to' => null ) );
		same( $is_mariadb ? $lost : array(), $made['adjustments'], 'adjusted' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		// A spatial reference system that no server has.
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$definition['columns'][0]['invisible'] = false;
		$definition['columns'][1]['srid']      = 1000001;
		$made = $site->request_ok( 'define', array( 'job' => $job, 'definition' => $definition ) );
		same( array( array( 'field' => 'columns.1.srid', 'from' => 1000001, 'to' => null ) ), $made['adjustments'], 'adjusted' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		$site->sql( 'DROP TABLE wp_probe' );
	}
);

test(
	'names of 64 characters, with quotes, spaces, accents and SQL keywords are preserved',
	static function () use ( $site ) {
		$long = str_repeat( 'é', 63 ) . 'x';
		check_round_trip( $site, "(`$long` INT NOT NULL, `a ``b``; --` INT, `select` VARCHAR(9) AS (CONCAT(`a ``b``; --`, 'x')) VIRTUAL, PRIMARY KEY (`$long`), KEY `key ``1``` (`a ``b``; --` DESC))", array( "(`$long`, `a ``b``; --`) VALUES (1,2)" ) );
		$table = 'wp_' . str_repeat( 't', 61 );
		$site->sql( "CREATE TABLE $table (id INT PRIMARY KEY)" );
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		import_table( $site, $job, definitions( $site )[ "table $table" ] );
		$site->until_done( 'abort', array( 'job' => $job ) );
		$site->sql( "DROP TABLE $table" );
	}
);

test(
	'a value of 12 MB, and rows longer than a statement may be, are preserved',
	static function () use ( $site ) {
		foreach ( array( 'InnoDB', 'MyISAM' ) as $engine ) {
			$site->sql( "CREATE TABLE wp_probe (id INT PRIMARY KEY, a LONGTEXT, b LONGBLOB, c MEDIUMTEXT, v VARCHAR(60000) CHARACTER SET latin1) ENGINE=$engine CHARSET=utf8mb4" );
			$site->sql( "INSERT INTO wp_probe VALUES (1, 'x', 'y', 'z', 'a'), (2, REPEAT('é', 6000000), REPEAT(x'00275c', 100000), NULL, REPEAT('\\'', 60000)), (3, REPEAT('a', 131072), REPEAT('b', 131073), REPEAT('c', 131074), ''), (4, NULL, NULL, NULL, NULL)" );
			$job = random_job();
			$site->request_ok( 'begin', array( 'job' => $job ) );
			$made = import_table( $site, $job, definitions( $site )['table wp_probe'] );
			same( '4', $site->value( "SELECT COUNT(*) FROM wp_probe o JOIN wp_wpclone_new_{$made['table_id']} n ON n.id = o.id AND n.a <=> o.a AND n.b <=> o.b AND n.c <=> o.c AND n.v <=> o.v" ), 'rows that are the same' );
			same( '0', $site->value( 'SELECT COUNT(*) FROM wp_wpclone_import_value_parts' ), 'pieces' );
			$site->until_done( 'abort', array( 'job' => $job ) );
			$site->sql( 'DROP TABLE wp_probe' );
		}
	}
);

test(
	$is_mariadb ? 'periods, indexes without overlaps, compressed and ignored parts, and system versioning are preserved' : 'checks that are not enforced and invisible indexes are preserved',
	static function () use ( $site, $is_mariadb ) {
		if ( ! $is_mariadb ) {
			check_round_trip( $site, '(id INT PRIMARY KEY, a INT, CONSTRAINT wp_probe_chk_1 CHECK (a > 5) NOT ENFORCED, KEY a (a) INVISIBLE)', array( 'VALUES (1, 1), (2, 9)' ) );
			return;
		}
		check_round_trip( $site, '(id INT NOT NULL, a DATE NOT NULL, b DATE NOT NULL, PERIOD FOR `va``lid` (a, b), UNIQUE KEY apart (id, `va``lid` WITHOUT OVERLAPS), KEY unused (a) IGNORED)', array( "VALUES (1, '2024-01-01', '2024-02-01'), (1, '2024-02-01', '2024-03-01'), (2, '2024-01-01', '2024-02-01')" ) );
		check_round_trip( $site, "(id INT PRIMARY KEY, t LONGTEXT COMPRESSED COLLATE utf8mb4_bin, b VARBINARY(2000) COMPRESSED NOT NULL DEFAULT 'x', e ENUM('a /*M!100301 COMPRESSED*/', 'b'))", array( "VALUES (1, REPEAT('long text ', 30000), x'00ff', 1)", "VALUES (2, NULL, '', 'b')" ) );
		check_round_trip( $site, '(id INT PRIMARY KEY, v VARCHAR(20), n INT WITHOUT SYSTEM VERSIONING) WITH SYSTEM VERSIONING', array( "VALUES (1, 'a', 1), (2, 'b', 2)" ) );
	}
);

if ( $is_mariadb ) {
	test(
		'of a versioned table with its own columns for the versions the current rows are copied; it can be loaded again',
		static function () use ( $site ) {
			$site->sql( 'CREATE TABLE wp_probe (id INT, v VARCHAR(20), since TIMESTAMP(6) GENERATED ALWAYS AS ROW START, until TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, PRIMARY KEY (id), UNIQUE KEY v (v), PERIOD FOR SYSTEM_TIME (since, until)) ENGINE=InnoDB WITH SYSTEM VERSIONING' );
			$site->sql( "INSERT INTO wp_probe (id, v) VALUES (1, 'old'), (2, 'two'), (3, 'gone')" );
			$site->sql( "UPDATE wp_probe SET v = 'new' WHERE id = 1" );
			$site->sql( 'DELETE FROM wp_probe WHERE id = 3' );
			$definition = definitions( $site )['table wp_probe'];
			same( array( true, array( 'id' ) ), array( $definition['versioned'], $definition['key'] ), 'definition' );
			$job = random_job();
			$site->request_ok( 'begin', array( 'job' => $job ) );
			$made = import_table( $site, $job, $definition );
			$new  = "wp_wpclone_new_{$made['table_id']}";
			same( create_table_sql( $site, 'wp_probe' ), create_table_sql( $site, $new ), 'table' );
			same( array( array( '1', 'new' ), array( '2', 'two' ) ), $site->rows( "SELECT id, v FROM $new ORDER BY id" ), 'rows' );
			// A piece that does not match its hash empties the table.
			list( $chunks ) = export_chunks( $site, 'wp_probe' );
			$site->sql( "UPDATE wp_wpclone_import_tables SET loading = 1, chunk = 0, complete = 0 WHERE id = {$made['table_id']}" );
			same( 'restart_table', $site->request_error( 'load-rows', Test_Site::encode_frames( chunk_head( $job, $made['table_id'], $chunks, 0 ), $chunks[0]['frames'] ) )['error'], 'emptied' );
			same( '0', $site->value( "SELECT COUNT(*) FROM $new FOR SYSTEM_TIME ALL" ), 'rows that are left' );
			send_chunks( $site, $job, $made['table_id'], $chunks );
			same( '2', $site->value( "SELECT COUNT(*) FROM $new" ), 'loaded again' );
			$site->until_done( 'abort', array( 'job' => $job ) );
			$site->sql( 'DROP TABLE wp_probe' );
		}
	);

	test(
		'sequences continue where they are, and number the rows of the copy, also after a rollback and a second swap',
		static function () use ( $site ) {
			$site->sql( 'CREATE SEQUENCE wp_numbers START WITH 100 INCREMENT BY 10 CACHE 5' );
			$site->sql( 'CREATE SEQUENCE wp_down START WITH -1 INCREMENT BY -1 MINVALUE -100 MAXVALUE -1 NOCACHE CYCLE' );
			$site->sql( 'CREATE SEQUENCE wp_used START WITH 1 MINVALUE 1 MAXVALUE 3 NOCACHE' );
			$site->sql( 'DO NEXTVAL(wp_numbers), NEXTVAL(wp_down), NEXTVAL(wp_used), NEXTVAL(wp_used), NEXTVAL(wp_used)' );
			$site->sql( 'CREATE TABLE wp_probe (id BIGINT NOT NULL DEFAULT (NEXT VALUE FOR wp_numbers) PRIMARY KEY, v VARCHAR(20))' );
			$site->sql( "INSERT INTO wp_probe (v) VALUES ('a'), ('b')" );
			$shape = create_table_sql( $site, 'wp_probe' );
			$all   = definitions( $site );
			same( array( 'sequence' => 'wp_numbers' ), $all['table wp_probe']['columns'][0]['default'], 'default' );
			$job = random_job();
			$site->request_ok( 'begin', array( 'job' => $job ) );
			foreach ( array( 'wp_numbers', 'wp_down', 'wp_used' ) as $name ) {
				$site->request_ok( 'define', array( 'job' => $job, 'definition' => $all[ "sequence $name" ] ) );
			}
			import_table( $site, $job, $all['table wp_probe'] );
			$site->until_done( 'prepare', array( 'job' => $job ) );
			same( array(), $site->until_done( 'swap', array( 'job' => $job ) )['rejected'], 'rejected' );
			$site->until_done( 'rollback', array( 'job' => $job ) );
			same( $shape, create_table_sql( $site, 'wp_probe' ), 'rolled back' );
			same( array(), $site->until_done( 'swap', array( 'job' => $job ) )['rejected'], 'rejected again' );
			same( $shape, create_table_sql( $site, 'wp_probe' ), 'table' );
			$site->until_done( 'commit', array( 'job' => $job ) );
			same( array(), $site->plugin_tables(), 'ours' );
			$site->sql( "INSERT INTO wp_probe (v) VALUES ('c')" );
			same( array( '150', '-2' ), array( $site->value( "SELECT id FROM wp_probe WHERE v = 'c'" ), $site->value( 'SELECT NEXTVAL(wp_down)' ) ), 'next' );
			check( false === mysqli_query( $site->link, 'SELECT NEXTVAL(wp_used)' ) && 4084 === mysqli_errno( $site->link ), 'a used up sequence stays used up' );
			foreach ( array( 'wp_numbers', 'wp_down', 'wp_used' ) as $name ) {
				$again = array_diff_key( definitions( $site )[ "sequence $name" ], array( 'next' => 0 ) );
				same( array_diff_key( $all[ "sequence $name" ], array( 'next' => 0 ) ), $again, $name );
			}
			$site->sql( 'DROP TABLE wp_probe' );
			$site->sql( 'DROP SEQUENCE wp_numbers, wp_down, wp_used' );
		}
	);
} else {
	test(
		'what only MariaDB has is rejected by its path, so that it can be left out',
		static function () use ( $site ) {
			$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY, a TIMESTAMP(6), b TIMESTAMP(6), t TEXT)' );
			$definition = definitions( $site )['table wp_probe'];
			$job        = random_job();
			$site->request_ok( 'begin', array( 'job' => $job ) );
			same( 'kind', $site->request_error( 'define', array( 'job' => $job, 'definition' => array( 'kind' => 'sequence', 'name' => 'wp_s', 'next' => '1', 'min' => '1', 'max' => '9', 'start' => '1', 'increment' => '1', 'cache' => '0', 'round' => '0', 'cycle' => false ) ) )['field'], 'a sequence' );
			$definition['columns'][1]['generated'] = array( 'expression' => 'ROW START', 'stored' => true );
			same( 'columns.1.generated.expression', $site->request_error( 'define', array( 'job' => $job, 'definition' => $definition ) )['field'], 'a version' );
			$definition['columns'][1]['generated']  = null;
			$definition['columns'][0]['default']    = array( 'sequence' => 'wp_s' );
			$definition['columns'][3]['compressed'] = true;
			$definition['versioned']                = true;
			$definition['periods']                  = array( array( 'name' => 'p', 'from' => 'a', 'to' => 'b' ) );
			$made = $site->request_ok( 'define', array( 'job' => $job, 'definition' => $definition ) );
			same( array( 'columns.0.default', 'columns.3.compressed', 'periods.0', 'versioned' ), array_column( $made['adjustments'], 'field' ), 'adjusted' );
			$site->until_done( 'abort', array( 'job' => $job ) );
			$site->sql( 'DROP TABLE wp_probe' );
		}
	);
}

test(
	'a generated column whose expression no import accepts is read as values',
	static function () use ( $site ) {
		$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY, a VARCHAR(9), b VARCHAR(200) AS (aes_encrypt(a, \'k\')) VIRTUAL, c INT AS (LENGTH(a)) VIRTUAL)' );
		$site->sql( "INSERT INTO wp_probe (id, a) VALUES (1, 'x')" );
		$definition = definitions( $site )['table wp_probe'];
		check( null === $definition['columns'][2]['generated'] && false !== stripos( $definition['columns'][2]['computed'], 'aes_encrypt' ), 'computed' );
		check( null !== $definition['columns'][3]['generated'] && null === $definition['columns'][3]['computed'], 'generated' );
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$made = import_table( $site, $job, $definition );
		same( rows_as_hex( $site, 'wp_probe' ), rows_as_hex( $site, "wp_wpclone_new_{$made['table_id']}" ), 'rows' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		$site->sql( 'DROP TABLE wp_probe' );
	}
);

test(
	'a table of another database that a foreign key leads to is not taken for one of the site',
	static function () use ( $site ) {
		$site->sql( 'CREATE DATABASE crm' );
		$site->sql( 'CREATE TABLE crm.wp_users (ID BIGINT UNSIGNED PRIMARY KEY)' );
		$site->sql( 'CREATE TABLE wp_probe (id INT PRIMARY KEY, c BIGINT UNSIGNED, u BIGINT UNSIGNED, CONSTRAINT of_crm FOREIGN KEY (c) REFERENCES crm.wp_users (ID), CONSTRAINT own FOREIGN KEY (u) REFERENCES wp_users (ID))' );
		$keys = definitions( $site )['table wp_probe']['foreign_keys'];
		same( array( 'of_crm' => 'crm.wp_users', 'own' => 'wp_users' ), array_column( $keys, 'table', 'name' ), 'tables' );
		$site->sql( 'DROP TABLE wp_probe' );
		$site->sql( 'DROP DATABASE crm' );
	}
);
