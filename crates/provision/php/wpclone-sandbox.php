<?php
/**
 * Plugin Name: wpclone: sandbox of a copy
 * Description: This site is a copy: it sends no mail, runs no cron jobs, makes no outgoing requests and is not indexed. Remove this file before it goes live.
 * License:     MIT OR Apache-2.0
 *
 * On a clone wp-config.php loads it before WordPress: no plugin runs before it, and no import replaces it. Elsewhere it is
 * a must-use plugin. Where both exist, the first one loaded wins.
 */

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

if ( ! class_exists( 'Wpclone_Sandbox', false ) ) {

	final class Wpclone_Sandbox {
		/** The migrator's file, relative to a plugin folder. */
		const MIGRATOR = 'wpclone-migrator/wpclone-migrator.php';

		/** The query parameter of a one-time login link: its expiry (Unix seconds), a nonce, and their HMAC-SHA256. */
		const LOGIN_PARAMETER = 'wpclone_login';

		/** The most seconds that a login link is valid. */
		const MAX_LOGIN_SECONDS = 3600;

		public static function init() {
			// A request to wp-cron.php would run what is due.
			if ( defined( 'DOING_CRON' ) && DOING_CRON ) {
				exit;
			}
			if ( ! defined( 'DISABLE_WP_CRON' ) ) {
				define( 'DISABLE_WP_CRON', true );
			}
			self::on( 'pre_get_ready_cron_jobs', 'return_empty_array' );
			self::on( 'action_scheduler_allow_async_request_runner', 'return_false' );

			self::on( 'pre_wp_mail', 'return_true' );
			self::on( 'phpmailer_init', 'clear_recipients' );

			self::on( 'pre_http_request', 'block_request' );

			self::on( 'pre_option_blog_public', 'return_zero' );
			self::on( 'wp_robots', 'robots' );
			self::on( 'wp_headers', 'headers' );

			if ( defined( 'WPCLONE_RUNTIME' ) ) {
				self::on( 'muplugins_loaded', 'load_migrator' );
				register_shutdown_function( array( self::class, 'report_fatal_error' ) );
				self::on( 'wp_php_error_message', 'explain_error', PHP_INT_MAX, 2 );
			}
			if ( defined( 'WPCLONE_LOGIN' ) ) {
				self::on( 'init', 'log_in', PHP_INT_MIN );
			}
		}

		/** Adds a filter, by default after all others; also before WordPress has loaded its hooks. */
		private static function on( $hook, $method, $priority = PHP_INT_MAX, $arguments = 1 ) {
			$callback = array( self::class, $method );
			if ( function_exists( 'add_filter' ) ) {
				add_filter( $hook, $callback, $priority, $arguments );
				return;
			}
			// WP_Hook::build_preinitialized_hooks() adopts these.
			$GLOBALS['wp_filter'][ $hook ][ $priority ][] = array(
				'function'      => $callback,
				'accepted_args' => $arguments,
			);
		}

		public static function return_empty_array() {
			return array();
		}

		public static function return_false() {
			return false;
		}

		/** Reports mail as sent, so that callers continue. */
		public static function return_true() {
			return true;
		}

		public static function return_zero() {
			return '0';
		}

		/** WordPress before 5.7 has no pre_wp_mail; without recipients nothing is sent. */
		public static function clear_recipients( $mailer ) {
			if ( is_object( $mailer ) && method_exists( $mailer, 'clearAllRecipients' ) ) {
				$mailer->clearAllRecipients();
			}
		}

		public static function block_request() {
			return new WP_Error( 'http_request_not_executed', 'This site is a copy: it makes no outgoing requests.' );
		}

		/**
		 * Adds PHP's words to the page that WordPress shows for a fatal error, with the file below WordPress, as of a plugin.
		 * Only on clones, whose log nobody else reads.
		 */
		public static function explain_error( $message, $error ) {
			if ( ! is_array( $error ) || ! isset( $error['message'], $error['file'], $error['line'] ) ) {
				return $message;
			}
			// Without the stack trace, which quotes arguments.
			$words = strtok( (string) $error['message'], "\n" );
			$text  = sprintf( 'PHP: %s (%s:%d)', $words, $error['file'], $error['line'] );
			$text  = str_replace( array( WP_CONTENT_DIR . '/', ABSPATH ), array( 'wp-content/', '' ), $text );
			return $message . ' <span class="wpclone-php-error">' . htmlspecialchars( substr( $text, 0, 600 ), ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8' ) . '</span>';
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

		/** Loads the migrator whatever an import did to the plugins: the clone's copy, or the runtime's. */
		public static function load_migrator() {
			if ( wp_installing() ) {
				return;
			}
			$own = WP_PLUGIN_DIR . '/' . self::MIGRATOR;
			require_once is_readable( $own ) ? $own : WPCLONE_RUNTIME . '/' . self::MIGRATOR;
		}

		/** Tells the migrator's client which error of PHP ended its request: a copy of ours has no other secrets in it. */
		public static function report_fatal_error() {
			$route = isset( $_GET['rest_route'] ) && is_string( $_GET['rest_route'] ) ? $_GET['rest_route'] : '';
			$error = error_get_last();
			$fatal = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_RECOVERABLE_ERROR;
			if ( headers_sent() || null === $error || 0 === ( $error['type'] & $fatal ) || ( ! isset( $_GET['wpclone_migrator'] ) && 0 !== strpos( $route, '/wpclone-migrator/' ) ) ) {
				return;
			}
			$message = strtok( $error['message'], "\n" ) . ' in ' . $error['file'] . ':' . $error['line'];
			header( 'X-Wpclone-Php-Error: ' . rawurlencode( substr( str_replace( ABSPATH, '', $message ), 0, 300 ) ) );
		}

		/** Logs in the holder of a link, once; before plugins that add further login steps. */
		public static function log_in() {
			if ( ! isset( $_GET[ self::LOGIN_PARAMETER ] ) ) {
				return;
			}
			nocache_headers();
			header( 'Referrer-Policy: no-referrer' );
			$user = self::is_valid_link( $_GET[ self::LOGIN_PARAMETER ] ) ? get_user_by( 'login', WPCLONE_LOGIN_USER ) : false;
			if ( ! $user ) {
				wp_die( 'This link has been used or has expired.', '', array( 'response' => 403 ) );
			}
			wp_set_current_user( $user->ID );
			wp_set_auth_cookie( $user->ID );
			wp_safe_redirect( admin_url() );
			exit;
		}

		/** Whether a link is signed by us, not expired, and used for the first time. */
		private static function is_valid_link( $link ) {
			if ( ! is_string( $link ) || 1 !== preg_match( '/\A(\d{10})\.([0-9a-f]{32})\.([0-9a-f]{64})\z/', $link, $part ) ) {
				return false;
			}
			$signed = implode( "\n", array( 'wpclone-login-v1', WPCLONE_NAME, $part[1], $part[2] ) );
			$key    = (string) hex2bin( WPCLONE_LOGIN_KEY );
			$left   = (int) $part[1] - time();
			if ( 32 !== strlen( $key ) || ! hash_equals( hash_hmac( 'sha256', $signed, $key ), $part[3] ) ) {
				return false;
			}
			if ( $left <= 0 || $left > self::MAX_LOGIN_SECONDS ) {
				return false;
			}
			foreach ( (array) glob( WPCLONE_LOGIN . '/*' ) as $used ) {
				if ( filemtime( $used ) < time() - self::MAX_LOGIN_SECONDS ) {
					@unlink( $used );
				}
			}
			// Of two concurrent requests only one creates the file.
			$file = @fopen( WPCLONE_LOGIN . '/' . $part[2], 'x' );
			return false !== $file && fclose( $file );
		}
	}

	Wpclone_Sandbox::init();
}
