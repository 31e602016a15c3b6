<?php
/**
 * Deletes everything the plugin stored.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) || ! defined( 'WP_UNINSTALL_PLUGIN' ) ) {
	exit;
}

require_once __DIR__ . '/includes/load.php';

try {
	// Tables and staging folders of an import job. A large job may need several passes; its folders are not accessible anyway.
	$wpclone_migrator_passes = 1;
	while ( ! Import_Cleanup::clean_up_any( new Request_Budget( new Json_Object( array( 'ms' => 60000 ) ) ) ) && $wpclone_migrator_passes <= 3 ) {
		++$wpclone_migrator_passes;
	}
} catch ( \Throwable $wpclone_migrator_thrown ) {
	// WordPress must be able to delete the plugin all the same. Without a usable database there was no job.
	if ( ! $wpclone_migrator_thrown instanceof Migrator_Error || 'database_unavailable' !== $wpclone_migrator_thrown->error_code ) {
		Migrator_Error::describe( $wpclone_migrator_thrown );
	}
}
State_Store::delete_all();
