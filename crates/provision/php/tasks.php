<?php
/**
 * What needs WordPress to be done on a clone. Only the provisioner can ask for it, over php-fpm's socket: the proxy
 * knows no file outside of a clone's tree. Input and output are JSON.
 */

if ( ! isset( $_SERVER['WPCLONE_TASK'] ) ) {
	exit;
}

$wpclone_wish = json_decode( (string) file_get_contents( 'php://input' ), true );

// Without plugins and theme: what is wrong with them must not stop us, and must not hear of this.
define( 'WP_INSTALLING', true );
// What others print would spoil the JSON.
ob_start();
require $wpclone_wish['tree'] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

/** A new WordPress, whose administrator is to be another one later. */
function wpclone_task_install( $wish ) {
	wp_install( 'A clone', $wish['username'], $wish['username'] . '@clone.invalid', false, '', wp_slash( $wish['password'] ) );
	update_option( 'permalink_structure', '/%postname%/' );
	update_option( 'active_plugins', array( 'wpclone-migrator/wpclone-migrator.php' ) );
	flush_rewrite_rules( false );
}

/** The administrator is there with this password, and the migrator is open. */
function wpclone_task_access( $wish ) {
	global $wpdb;
	$name = $wish['username'];
	$user = get_user_by( 'login', $name );
	$mail = $name . '@clone.invalid';
	if ( ! $user ) {
		$first = get_user_by( 'login', $wish['template'] );
		if ( $first ) {
			$row = array(
				'user_login'    => $name,
				'user_nicename' => $name,
				'display_name'  => $name,
				'user_email'    => $mail,
			);
			$wpdb->update( $wpdb->users, $row, array( 'ID' => $first->ID ) );
			update_user_meta( $first->ID, 'nickname', $name );
			update_option( 'admin_email', $mail );
			clean_user_cache( $first );
		} else {
			$row = array(
				'user_login' => $name,
				'user_email' => $mail,
				'user_pass'  => wp_slash( $wish['password'] ),
				'role'       => 'administrator',
			);
			$id  = wp_insert_user( $row );
			if ( is_wp_error( $id ) ) {
				throw new Exception( $id->get_error_code() );
			}
		}
		$user = get_user_by( 'login', $name );
	}
	if ( ! in_array( 'administrator', (array) $user->roles, true ) ) {
		$user->set_role( 'administrator' );
	}
	if ( is_multisite() && ! is_super_admin( $user->ID ) ) {
		grant_super_admin( $user->ID );
	}
	if ( ! wp_check_password( wp_slash( $wish['password'] ), $user->user_pass, $user->ID ) ) {
		wp_set_password( wp_slash( $wish['password'] ), $user->ID );
	}
	// In the form that the migrator stores.
	$state = (string) json_encode(
		array(
			'key'            => $wish['key'],
			'index_secret'   => bin2hex( random_bytes( 32 ) ),
			'open_until'     => (int) $wish['opened_until'],
			'import_enabled' => true,
		)
	);
	$wpdb->query(
		$wpdb->prepare(
			"INSERT INTO {$wpdb->options} (option_name, option_value, autoload) VALUES ('wpclone_migrator', %s, 'no')
				ON DUPLICATE KEY UPDATE option_value = VALUES(option_value)",
			$state
		)
	);
}

$wpclone_told = array( 'done' => false );
try {
	call_user_func( 'wpclone_task_' . $wpclone_wish['task'], $wpclone_wish );
	$wpclone_told = array(
		'done'      => true,
		'wordpress' => (string) $GLOBALS['wp_version'],
		'php'       => PHP_VERSION,
	);
} catch ( Throwable $wpclone_fault ) {
	$wpclone_told['why'] = $wpclone_fault->getMessage();
}
while ( ob_get_level() > 0 && @ob_end_clean() ) {
	continue;
}
header( 'Content-Type: application/json' );
echo json_encode( $wpclone_told );
