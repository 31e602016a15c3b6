<?php
/**
 * Does on a clone what needs WordPress. Only the provisioner can request it, over php-fpm's socket: the proxy serves no
 * file outside of a clone's WordPress folder. Input and output are JSON.
 */

if ( ! isset( $_SERVER['WPCLONE_TASK'] ) ) {
	exit;
}

$wpclone_input = json_decode( (string) file_get_contents( 'php://input' ), true );

// Without plugins, must-use plugins and theme: their errors must not stop this, and they must not see it.
define( 'WP_INSTALLING', true );
define( 'WPMU_PLUGIN_DIR', __DIR__ . '/no-must-use-plugins' );
// Other output would break the JSON.
ob_start();
register_shutdown_function( 'wpclone_report_missing_database' );
// A server that does not answer is no reason to wait for a minute.
ini_set( 'default_socket_timeout', '20' );
require $wpclone_input['tree'] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

/** WordPress shows a page and ends when it has no database. */
function wpclone_report_missing_database() {
	global $wpdb, $wpclone_result;
	if ( null !== $wpclone_result || ! isset( $wpdb ) || $wpdb->ready ) {
		return;
	}
	$error = $wpdb->dbh ? mysqli_error( $wpdb->dbh ) : mysqli_connect_error();
	wpclone_respond(
		array(
			'done'        => false,
			'no_database' => true,
			'error'       => (string) $error,
		)
	);
}

function wpclone_respond( $result ) {
	while ( ob_get_level() > 0 && @ob_end_clean() ) {
		continue;
	}
	header( 'Content-Type: application/json' );
	echo json_encode( $result, JSON_INVALID_UTF8_SUBSTITUTE );
}

/** Whether the database has a WordPress. */
function wpclone_task_inspect() {
	global $wpdb;
	$found = $wpdb->get_var( $wpdb->prepare( 'SHOW TABLES LIKE %s', $wpdb->esc_like( $wpdb->options ) ) );
	// "No table" would let the caller empty a database that only did not answer.
	if ( '' !== $wpdb->last_error ) {
		return array(
			'done'        => false,
			'no_database' => true,
			'error'       => $wpdb->last_error,
		);
	}
	return array( 'is_installed' => null !== $found );
}

/** Removes what an installation left that was interrupted. */
function wpclone_task_empty_database() {
	global $wpdb;
	foreach ( $wpdb->get_col( 'SHOW TABLES' ) as $table ) {
		$wpdb->query( 'DROP TABLE `' . str_replace( '`', '``', $table ) . '`' );
	}
}

/** Installs WordPress. Each local clone renames the administrator later. */
function wpclone_task_install( $input ) {
	wp_install( 'A clone', $input['username'], $input['username'] . '@clone.invalid', false, '', wp_slash( $input['password'] ) );
	update_option( 'permalink_structure', '/%postname%/' );
	update_option( 'active_plugins', array( 'wpclone-migrator/wpclone-migrator.php' ) );
	flush_rewrite_rules( false );
}

/** Adds an administrator, also to a table of users that has lost its AUTO_INCREMENT, where wp_insert_user() adds a user 0. */
function wpclone_add_administrator( $name, $mail, $password ) {
	global $wpdb;
	$column = $wpdb->get_row( "SHOW COLUMNS FROM {$wpdb->users} LIKE 'ID'" );
	if ( $column && false === stripos( $column->Extra, 'auto_increment' ) ) {
		$row = array(
			'ID'              => 1 + (int) $wpdb->get_var( "SELECT MAX(ID) FROM {$wpdb->users}" ),
			'user_login'      => $name,
			'user_pass'       => wp_hash_password( wp_slash( $password ) ),
			'user_nicename'   => $name,
			'user_email'      => $mail,
			'user_registered' => gmdate( 'Y-m-d H:i:s' ),
			'display_name'    => $name,
		);
		if ( 1 !== $wpdb->insert( $wpdb->users, $row ) ) {
			throw new Exception( 'the administrator cannot be added: ' . $wpdb->last_error );
		}
		return;
	}
	$row = array(
		'user_login' => $name,
		'user_email' => $mail,
		'user_pass'  => wp_slash( $password ),
		'role'       => 'administrator',
	);
	$id  = wp_insert_user( $row );
	if ( is_wp_error( $id ) ) {
		throw new Exception( $id->get_error_code() );
	}
}

/** Makes sure that the administrator exists with this password, and opens the migrator. */
function wpclone_task_access( $input ) {
	global $wpdb;
	$name = $input['username'];
	$user = get_user_by( 'login', $name );
	$mail = $name . '@clone.invalid';
	if ( ! $user ) {
		$template = isset( $input['template'] ) ? get_user_by( 'login', $input['template'] ) : false;
		if ( $template ) {
			$row = array(
				'user_login'    => $name,
				'user_nicename' => $name,
				'display_name'  => $name,
				'user_email'    => $mail,
			);
			$wpdb->update( $wpdb->users, $row, array( 'ID' => $template->ID ) );
			update_user_meta( $template->ID, 'nickname', $name );
			update_option( 'admin_email', $mail );
			clean_user_cache( $template );
		} else {
			wpclone_add_administrator( $name, $mail, $input['password'] );
		}
		$user = get_user_by( 'login', $name );
	}
	if ( ! in_array( 'administrator', (array) $user->roles, true ) ) {
		$user->set_role( 'administrator' );
	}
	if ( is_multisite() && ! is_super_admin( $user->ID ) ) {
		grant_super_admin( $user->ID );
	}
	if ( ! wp_check_password( wp_slash( $input['password'] ), $user->user_pass, $user->ID ) ) {
		wp_set_password( wp_slash( $input['password'] ), $user->ID );
	}
	// The runtime has the migrator beside this file; the clone's own copy may be another version.
	require_once __DIR__ . '/wpclone-migrator/includes/access/class-state-store.php';
	require_once __DIR__ . '/wpclone-migrator/includes/access/class-access-window.php';
	if ( ! Wpclone\Migrator\Access_Window::open_with_key( $input['key'], (int) $input['open_until'] ) ) {
		throw new Exception( 'the migrator cannot be opened' );
	}
}

try {
	$wpclone_result = (array) call_user_func( 'wpclone_task_' . str_replace( '-', '_', $wpclone_input['task'] ), $wpclone_input ) + array(
		'done'      => true,
		'wordpress' => (string) $GLOBALS['wp_version'],
		'php'       => PHP_VERSION,
	);
} catch ( Throwable $wpclone_error ) {
	$wpclone_result = array(
		'done'  => false,
		'error' => $wpclone_error->getMessage(),
	);
}
wpclone_respond( $wpclone_result );
