<?php
/**
 * Installs the WordPress in the working directory.
 */

define( 'WP_INSTALLING', true );
define( 'WP_SITEURL', 'http://real.invalid' );
define( 'WP_HTTP_BLOCK_EXTERNAL', true );
$_SERVER['HTTP_HOST']       = 'real.invalid';
$_SERVER['REQUEST_URI']     = '/wp-admin/install.php';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
require getcwd() . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
add_filter( 'pre_wp_mail', '__return_true' );
wp_install( 'Real', 'admin', 'admin@real.invalid', true, '', 'password' );
update_option( 'active_plugins', array( 'wpclone-migrator/wpclone-migrator.php' ) );
