<?php
/**
 * Plugin Name: wpclone: a harmless copy
 * Description: This site is a copy. It sends no mail, runs no scheduled work, calls nobody and is not indexed. Remove this file when it is to go live.
 * License:     MIT OR Apache-2.0
 *
 * On a clone it is loaded by wp-config.php, before WordPress: no plugin runs before it, and no import replaces it.
 * Elsewhere it is a must-use plugin. Where both are there, the first one counts.
 */

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

if ( ! class_exists( 'Wpclone_Harmless', false ) ) {

	final class Wpclone_Harmless {
		/** The migrator, below a folder of plugins. */
		const MIGRATOR = 'wpclone-migrator/wpclone-migrator.php';

		/** The query parameter that logs in once: when it expires (Unix seconds), a nonce, and their HMAC-SHA256. */
		const LOGIN = 'wpclone_login';

		/** No link lasts longer, in seconds. */
		const LONGEST_LOGIN = 3600;

		public static function begin() {
			// Asked for by name, wp-cron.php would run what is due.
			if ( defined( 'DOING_CRON' ) && DOING_CRON ) {
				exit;
			}
			if ( ! defined( 'DISABLE_WP_CRON' ) ) {
				define( 'DISABLE_WP_CRON', true );
			}
			self::on( 'pre_get_ready_cron_jobs', 'none' );
			self::on( 'action_scheduler_allow_async_request_runner', 'no' );

			self::on( 'pre_wp_mail', 'yes' );
			self::on( 'phpmailer_init', 'to_nobody' );

			self::on( 'pre_http_request', 'no_request' );

			self::on( 'pre_option_blog_public', 'zero' );
			self::on( 'wp_robots', 'robots' );
			self::on( 'wp_headers', 'headers' );

			if ( defined( 'WPCLONE_HARNESS' ) ) {
				self::on( 'muplugins_loaded', 'load_migrator' );
			}
			if ( defined( 'WPCLONE_LOGIN' ) ) {
				self::on( 'init', 'log_in', PHP_INT_MIN );
			}
		}

		/** Hooks in, last of all unless said otherwise; also while WordPress has no hooks yet. */
		private static function on( $hook, $method, $priority = PHP_INT_MAX ) {
			$callback = array( self::class, $method );
			if ( function_exists( 'add_filter' ) ) {
				add_filter( $hook, $callback, $priority, 1 );
				return;
			}
			// WP_Hook::build_preinitialized_hooks() takes these over.
			$GLOBALS['wp_filter'][ $hook ][ $priority ][] = array(
				'function'      => $callback,
				'accepted_args' => 1,
			);
		}

		public static function none() {
			return array();
		}

		public static function no() {
			return false;
		}

		/** Mail counts as sent: what waits for it goes on. */
		public static function yes() {
			return true;
		}

		public static function zero() {
			return '0';
		}

		/** Before WordPress 5.7 there is no pre_wp_mail: without recipients nothing is sent. */
		public static function to_nobody( $mailer ) {
			if ( is_object( $mailer ) && method_exists( $mailer, 'clearAllRecipients' ) ) {
				$mailer->clearAllRecipients();
			}
		}

		public static function no_request() {
			return new WP_Error( 'http_request_not_executed', 'This site is a copy: it calls nobody.' );
		}

		public static function robots( $robots ) {
			return array(
				'noindex'  => true,
				'nofollow' => true,
			);
		}

		public static function headers( $headers ) {
			$headers                 = (array) $headers;
			$headers['X-Robots-Tag'] = 'noindex, nofollow';
			return $headers;
		}

		/** The migrator runs whatever an import did to the plugins: its own copy, or that of the harness. */
		public static function load_migrator() {
			if ( wp_installing() ) {
				return;
			}
			$own = WP_PLUGIN_DIR . '/' . self::MIGRATOR;
			require_once is_readable( $own ) ? $own : WPCLONE_HARNESS . '/' . self::MIGRATOR;
		}

		/** Logs in who has a link, once. Before anything that might ask for more than that. */
		public static function log_in() {
			if ( ! isset( $_GET[ self::LOGIN ] ) ) {
				return;
			}
			nocache_headers();
			header( 'Referrer-Policy: no-referrer' );
			$user = self::may_log_in( $_GET[ self::LOGIN ] ) ? get_user_by( 'login', WPCLONE_LOGIN_USER ) : false;
			if ( ! $user ) {
				wp_die( 'This link has been used, or its time is over.', '', array( 'response' => 403 ) );
			}
			wp_set_current_user( $user->ID );
			wp_set_auth_cookie( $user->ID );
			wp_safe_redirect( admin_url() );
			exit;
		}

		/** Whether a link is ours, still good, and used for the first time. */
		private static function may_log_in( $link ) {
			if ( ! is_string( $link ) || 1 !== preg_match( '/\A(\d{10})\.([0-9a-f]{32})\.([0-9a-f]{64})\z/', $link, $part ) ) {
				return false;
			}
			$signed = implode( "\n", array( 'wpclone-login-v1', WPCLONE_NAME, $part[1], $part[2] ) );
			$key    = (string) hex2bin( WPCLONE_LOGIN_KEY );
			$left   = (int) $part[1] - time();
			if ( 32 !== strlen( $key ) || ! hash_equals( hash_hmac( 'sha256', $signed, $key ), $part[3] ) ) {
				return false;
			}
			if ( $left <= 0 || $left > self::LONGEST_LOGIN ) {
				return false;
			}
			foreach ( (array) glob( WPCLONE_LOGIN . '/*' ) as $used ) {
				if ( filemtime( $used ) < time() - self::LONGEST_LOGIN ) {
					@unlink( $used );
				}
			}
			// Of two at once only one makes the file.
			$file = @fopen( WPCLONE_LOGIN . '/' . $part[2], 'x' );
			return false !== $file && fclose( $file );
		}
	}

	Wpclone_Harmless::begin();
}
