<?php
/**
 * Sites whose tables have lost their keys, as after an import that broke off before its last statements: the guard against
 * replayed requests holds, and the migrator's key is in no table of the site.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

use Wpclone\Migrator\Access_Window;
use Wpclone\Migrator\State_Store;

// Before the plugin is used for the first time.
$site->sql( "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'" );
foreach ( array( 'wp_options' => 'option_id', 'wp_posts' => 'ID', 'wp_postmeta' => 'meta_id', 'wp_users' => 'ID', 'wp_usermeta' => 'umeta_id' ) as $table => $id ) {
	$site->sql( "ALTER TABLE $table MODIFY $id BIGINT UNSIGNED NOT NULL, DROP PRIMARY KEY" );
}
$site->sql( 'ALTER TABLE wp_options DROP INDEX option_name' );
$site->sql( "INSERT INTO wp_options (option_id, option_name, option_value, autoload) VALUES (0, 'twice', 'a', 'no'), (0, 'twice', 'b', 'no'), (0, 'twice', 'b', 'no'), (0, '', 'without a name', 'no')" );
$site->load_plugin();

/** Statuses of a signed request that is sent several times, at once or one after the other. */
function replayed( Test_Site $site, int $times, bool $at_once ): array {
	$fields = array(
		'unique'    => bin2hex( random_bytes( 16 ) ),
		'timestamp' => (string) time(),
		'nonce'     => bin2hex( random_bytes( 16 ) ),
	);
	$statuses = array();
	$started  = array();
	for ( $i = 0; $i < $times; $i++ ) {
		$one = $site->send( 'status', array(), 0, $fields );
		if ( $at_once ) {
			$started[] = $one;
		} else {
			$statuses[] = $site->await( $one )->status;
		}
	}
	foreach ( $started as $one ) {
		$statuses[] = $site->await( $one )->status;
	}
	sort( $statuses );
	return $statuses;
}

test(
	'a signed request counts once although no table of the site has a key',
	static function () use ( $site ) {
		same( array( 200, 403, 403 ), replayed( $site, 3, false ), 'one after the other' );
		same( array( 200, 403, 403, 403, 403, 403, 403, 403 ), replayed( $site, 8, true ), 'at once' );
	}
);

test(
	'the options are read without the migrator\'s key and nonces, and all other rows are there as often as they are stored',
	static function () use ( $site ) {
		list( $chunks, $rows ) = export_chunks( $site, 'wp_options', 16384 );
		$sent = implode( '', array_merge( ...array_map( static function ( $chunk ) { return array_column( $chunk['frames'], 1 ); }, $chunks ) ) );
		same( (int) $site->value( 'SELECT COUNT(*) FROM wp_options' ), $rows, 'rows' );
		check( false === strpos( $sent, $site->key ), 'the key was sent' );
		same( '0', $site->value( "SELECT COUNT(*) FROM wp_options WHERE option_name LIKE '%wpclone%' OR option_value LIKE '%{$site->key}%'" ), 'options of the plugin' );
		check( ! isset( definitions( $site )['table wp_wpclone_migrator'] ), 'its table is not listed' );
		same( 'gone', $site->request_error( 'rows', array( 'table' => 'wp_wpclone_migrator' ) )['error'], 'nor read' );
	}
);

test(
	'tables without keys are imported with all their rows, and the migrator answers afterwards with the same key',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		$tables = array( 'wp_options', 'wp_posts', 'wp_postmeta' );
		$before = array();
		// The order of indexes is not part of a definition.
		$shape = static function ( string $table ) use ( $site ) {
			$lines = explode( "\n", str_replace( ",\n", "\n", create_table_sql( $site, $table ) ) );
			sort( $lines );
			return $lines;
		};
		foreach ( $tables as $table ) {
			$before[ $table ] = array( $shape( $table ), rows_as_hex( $site, $table ) );
			import_table( $site, $job, definitions( $site )[ "table $table" ], null, 16384 );
		}
		$site->until_done( 'prepare', array( 'job' => $job ) );
		$site->until_done( 'swap', array( 'job' => $job ) );
		foreach ( $tables as $table ) {
			same( $before[ $table ][0], $shape( $table ), "shape of $table" );
			same( count( $before[ $table ][1] ), count( rows_as_hex( $site, $table ) ), "rows of $table" );
		}
		same( $before['wp_posts'][1], rows_as_hex( $site, 'wp_posts' ), 'posts' );
		$site->until_done( 'commit', array( 'job' => $job ) );
		same( array( 200, 403, 403 ), replayed( $site, 3, false ), 'afterwards' );
	}
);

test(
	'without its own key the migrator\'s table counts as none: every request is refused, until access is enabled anew with another key',
	static function () use ( $site ) {
		$key = $site->key;
		foreach ( array( 'ALTER TABLE wp_wpclone_migrator DROP PRIMARY KEY', 'DROP TABLE wp_wpclone_migrator', 'ALTER TABLE wp_wpclone_migrator DROP COLUMN value' ) as $damage ) {
			$site->sql( $damage );
			same( array( 403, 403 ), replayed( $site, 2, false ), $damage );
			check( Access_Window::open( time(), true ), 'opens' );
			$new = (string) Access_Window::load()->key( time() );
			check( '' !== $new && $new !== $key, 'another key' );
			$site->key = $new;
			$key       = $new;
			same( array( 200, 403 ), replayed( $site, 2, false ), "after $damage" );
		}
	}
);

test(
	'a database user who may not create tables gets no key; one who may not drop them empties the table',
	static function () use ( $site ) {
		global $wpdb;
		$root = $site->link;
		$with = static function ( string $revoked, callable $run ) use ( $root, $wpdb ) {
			check( mysqli_query( $root, "REVOKE $revoked ON site.* FROM site@localhost" ), mysqli_error( $root ) );
			try {
				$wpdb->db_connect( false );
				$run();
			} finally {
				check( mysqli_query( $root, "GRANT $revoked ON site.* TO site@localhost" ), mysqli_error( $root ) );
				$wpdb->db_connect( false );
			}
		};
		$with( 'DROP', static function () use ( $site ) {
			check( ! State_Store::delete_all(), 'dropped' );
			same( '0', $site->value( 'SELECT COUNT(*) FROM wp_wpclone_migrator' ), 'rows' );
			check( ! Access_Window::load()->has_key(), 'the key is still there' );
			same( array( 403 ), replayed( $site, 1, false ), 'refused' );
		} );
		check( State_Store::delete_all(), 'not dropped: ' . json_encode( $wpdb->get_results( 'SHOW GRANTS' ) ) );
		$with( 'CREATE', static function () use ( $site ) {
			check( ! Access_Window::open( time(), true ), 'opens' );
			check( ! Access_Window::load()->has_key(), 'has a key' );
			same( array( 403 ), replayed( $site, 1, false ), 'refused' );
		} );
		same( '0', $site->value( "SELECT COUNT(*) FROM wp_options WHERE option_name LIKE '%wpclone%'" ), 'options of the plugin' );
	}
);
