<?php
/**
 * Takes away all that the plugin stored, on every site of a network.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) || ! defined( 'WP_UNINSTALL_PLUGIN' ) ) {
	exit;
}

require_once __DIR__ . '/includes/all.php';

try {
	// What a job left: tables, and folders of files. A big one takes more than one go; the folders are closed anyway.
	$wpclone_migrator_tries = 0;
	while ( ! Import_End::wipe( new Budget( new Json( array( 'ms' => 60000 ) ) ) ) && $wpclone_migrator_tries < 3 ) {
		++$wpclone_migrator_tries;
	}
} catch ( \Throwable $wpclone_migrator_thrown ) {
	// WordPress has to be able to remove the plugin all the same. Where there is no database of ours there was no job.
	if ( ! $wpclone_migrator_thrown instanceof Trouble || 'no_database' !== $wpclone_migrator_thrown->name ) {
		Trouble::told( $wpclone_migrator_thrown );
	}
}
Store::erase_everywhere();
