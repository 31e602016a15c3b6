<?php
/**
 * Plugin Name:       WPClone Migrator
 * Description:       Hands this site's content to wpclone, or takes it in, in small signed requests. Asleep until an administrator opens it, and again an hour after its last use.
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

/** This file; its header holds the version, and nothing else does. */
const PLUGIN_FILE = __FILE__;

require_once __DIR__ . '/includes/doors.php';
require_once __DIR__ . '/includes/routes.php';

Doors::answer_if_asked();
add_action( 'rest_api_init', array( Doors::class, 'register_rest' ) );
if ( is_admin() ) {
	require_once __DIR__ . '/includes/store.php';
	require_once __DIR__ . '/includes/state.php';
	require_once __DIR__ . '/includes/settings-page.php';
	Settings_Page::register();
}
