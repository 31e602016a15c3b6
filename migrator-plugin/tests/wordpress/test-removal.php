<?php
/**
 * The route `remove`: two clients under two names of one site do not end each other's imports.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';
require __DIR__ . '/../support/file-helpers.php';

$site->load_plugin();
$site->sql( 'CREATE TABLE wp_kept (id INT NOT NULL PRIMARY KEY, a VARCHAR(20)) ENGINE=InnoDB' );
$site->sql( "INSERT INTO wp_kept VALUES (1, 'before')" );

/** Everything that a removal could end or delete. */
function everything( Test_Site $site ): array {
	return array(
		$site->plugin_tables(),
		$site->rows( 'SELECT job, phase FROM wp_wpclone_import_job' ),
		$site->staging_folders(),
		$site->rows( 'SELECT * FROM wp_kept' ),
		array_keys( folder_contents( "{$site->path}/wp-content/plugins/wpclone-migrator" ) ),
		$site->value( "SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'" ),
		'' === $site->access_window(),
	);
}

/** Checks that nobody but its own client can remove the plugin while there is this job. */
function check_refused( Test_Site $site, string $phase ): void {
	$before = everything( $site );
	same( $phase, $before[1][0][1], 'phase' );
	foreach ( array( array(), array( 'job' => random_job() ), array( 'job' => null ) ) as $body ) {
		$wrong = $site->request_error( 'remove', $body );
		same( array( 409, 'job_in_progress' ), array( $wrong['status'], $wrong['error'] ), "$phase: " . json_encode( $body ) );
	}
	same( 'bad_request', $site->request_error( 'remove', array( 'job' => 'x' ) )['error'], 'no name of a job' );
	same( $before, everything( $site ), "$phase: nothing changes" );
}

/** Stores whether import is enabled. */
function enable_import( Test_Site $site, bool $enabled ): void {
	list( $from, $to ) = array( json_encode( ! $enabled ), json_encode( $enabled ) );
	$site->sql( "UPDATE wp_wpclone_migrator SET value = REPLACE(value, '\"import_enabled\":$from', '\"import_enabled\":$to') WHERE name = 'access_window'" );
}

test(
	'with an import of another client in progress the plugin is not removed, whatever the phase, and the import is not ended',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
		check_refused( $site, 'open' );
		import_table( $site, $job, definitions( $site )['table wp_kept'] );
		check_refused( $site, 'open' );
		// Idle for long: its worker was lost, and another one will continue it.
		$site->sql( 'UPDATE wp_wpclone_import_job SET last_used = last_used - 100000' );
		check_refused( $site, 'open' );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		check_refused( $site, 'prepared' );
		$site->until_done( 'swap', array( 'job' => $job ) );
		$site->sql( "UPDATE wp_kept SET a = 'after'" );
		check_refused( $site, 'swapped' );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		same( 'before', $site->value( 'SELECT a FROM wp_kept' ), 'rolled back' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'when another client disables import, the import that has begun can be undone by its own client, and only that',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job ) );
		import_table( $site, $job, definitions( $site )['table wp_kept'] );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		$site->until_done( 'swap', array( 'job' => $job ) );
		$site->sql( "UPDATE wp_kept SET a = 'after'" );
		enable_import( $site, false );
		foreach ( array( 'begin', 'define', 'load-rows', 'store-files', 'staged-index', 'prepare', 'swap' ) as $route ) {
			same( 403, $site->request( $route, array( 'job' => $job ) )->status, $route );
		}
		foreach ( array( 'rollback', 'commit', 'abort' ) as $route ) {
			foreach ( array( array(), array( 'job' => random_job() ), array( 'job' => array( $job ) ) ) as $body ) {
				same( 403, $site->request( $route, $body )->status, "$route of another one" );
			}
		}
		$site->until_done( 'rollback', array( 'job' => $job ) );
		same( 'before', $site->value( 'SELECT a FROM wp_kept' ), 'rolled back' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		same( array(), $site->plugin_tables(), 'ended' );
		same( 403, $site->request( 'abort', array( 'job' => $job ) )->status, 'after its end' );
		enable_import( $site, true );
	}
);

test(
	'removal by the client of the import ends it, and leaves nothing',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
		import_table( $site, $job, definitions( $site )['table wp_kept'] );
		$removed = $site->request( 'remove', array( 'job' => $job ) );
		same( array( 200, true, array() ), array( $removed->status, $removed->json['done'], $removed->json['remaining'] ), $removed->body );
		same( array(), array_merge( $site->plugin_tables(), $site->staging_folders() ), 'tables and folders' );
		check( ! is_dir( "{$site->path}/wp-content/plugins/wpclone-migrator" ), 'its files' );
		same( '0', $site->value( "SELECT COUNT(*) FROM wp_options WHERE option_name LIKE '%wpclone%'" ), 'its options' );
		same( array(), $site->rows( "SHOW TABLES LIKE '%wpclone%'" ), 'its table' );
	}
);
