<?php
/**
 * Takes away all that the plugin stored, on every site of a network.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) || ! defined( 'WP_UNINSTALL_PLUGIN' ) ) {
	exit;
}

require_once __DIR__ . '/includes/store.php';

if ( ! is_multisite() ) {
	Store::erase();
	return;
}

// By pages, since a network may have very many sites.
$wpclone_migrator_page = 0;
do {
	$wpclone_migrator_sites = get_sites(
		array(
			'fields'  => 'ids',
			'number'  => 100,
			'offset'  => 100 * $wpclone_migrator_page,
			'orderby' => 'id',
		)
	);
	foreach ( $wpclone_migrator_sites as $wpclone_migrator_site ) {
		switch_to_blog( $wpclone_migrator_site );
		Store::erase();
		restore_current_blog();
	}
	++$wpclone_migrator_page;
} while ( array() !== $wpclone_migrator_sites );
