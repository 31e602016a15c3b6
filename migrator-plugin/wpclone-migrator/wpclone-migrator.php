<?php
/**
 * Plugin Name:       WPClone Migrator
 * Description:       Lets wpclone copy this site, or import a copy into it, with signed requests. Access is off until an administrator enables it, and ends one hour after the last use.
 * Version:           0.1.0
 * Requires at least: 5.6
 * Requires PHP:      7.4
 * Author:            The wpclone authors
 * License:           GPL-2.0-or-later
 * License URI:       https://www.gnu.org/licenses/old-licenses/gpl-2.0.html
 * Text Domain:       wpclone-migrator
 * Update URI:        false
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

/** The main file. The version stands in its header and nowhere else. */
const PLUGIN_FILE = __FILE__;

/** The plugin's version. */
function plugin_version(): string {
	return get_file_data( PLUGIN_FILE, array( 'version' => 'Version' ) )['version'];
}

// Everything else is loaded by includes/load.php when a request for the migrator comes in.
require_once __DIR__ . '/includes/protocol/class-route-table.php';
require_once __DIR__ . '/includes/api/class-endpoints.php';

Endpoints::handle_front_request();
add_action( 'rest_api_init', array( Endpoints::class, 'register_rest_routes' ) );
if ( is_admin() ) {
	require_once __DIR__ . '/includes/access/class-state-store.php';
	require_once __DIR__ . '/includes/access/class-access-window.php';
	require_once __DIR__ . '/includes/admin/class-settings-page.php';
	Settings_Page::register();
}
