<?php
/**
 * The two HTTP endpoints: the front controller, which answers while plugins are loaded, and REST.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Endpoints {
	/** The front controller's query parameter that names the route. */
	const PARAMETER = 'wpclone_migrator';

	/** The namespace of the REST routes. */
	const REST_NAMESPACE = 'wpclone-migrator/v1';

	/** Answers a request with our parameter and ends it, before the theme and most plugins run. */
	public static function handle_front_request(): void {
		// phpcs:ignore WordPress.Security.NonceVerification -- Request_Authenticator checks the signature.
		$route = $_GET[ self::PARAMETER ] ?? null;
		if ( null !== $route ) {
			self::respond( $route );
		}
	}

	/**
	 * Registers the REST routes for a request to one of them. Any other request finds nothing of ours in REST: WordPress
	 * lists the namespace of every registered route in its index, also of hidden ones, to everybody.
	 */
	public static function register_rest_routes(): void {
		if ( ! self::is_rest_request() ) {
			return;
		}
		foreach ( array_keys( Route_Table::IMPORT_ONLY ) as $route ) {
			register_rest_route(
				self::REST_NAMESPACE,
				'/' . $route,
				array(
					'methods'             => 'POST',
					'show_in_index'       => false,
					// The callback authenticates: an error from here would reveal more than 403.
					'permission_callback' => '__return_true',
					// Without WP_REST_Response: filters of other plugins would invalidate the signature.
					'callback'            => static function () use ( $route ) {
						self::respond( $route );
					},
				)
			);
		}
	}

	/** Whether PHP is processing a POST to one of our REST routes, in the only form that wpclone sends. */
	private static function is_rest_request(): bool {
		// phpcs:ignore WordPress.Security.NonceVerification -- Request_Authenticator checks the signature.
		$route = $_GET['rest_route'] ?? null;
		// phpcs:ignore WordPress.Security.ValidatedSanitizedInput -- It is only compared.
		return is_string( $route ) && 'POST' === ( $_SERVER['REQUEST_METHOD'] ?? '' )
			&& 0 === strpos( $route, '/' . self::REST_NAMESPACE . '/' );
	}

	/**
	 * Answers and ends the request.
	 *
	 * @param mixed $route
	 */
	private static function respond( $route ): void {
		require_once __DIR__ . '/../load.php';
		global $wpdb;
		$wpdb->hide_errors();
		@ini_set( 'display_errors', '0' );
		@ini_set( 'zlib.output_compression', '0' );
		$response = Router::respond( Request::from_globals( $route ), time() );
		// Discards what other plugins printed so far; a buffer that cannot be removed ends the loop.
		while ( ob_get_level() > 0 && @ob_end_clean() ) {
			continue;
		}
		// If something was printed without a buffer, wpclone sees no signature and uses the other endpoint.
		if ( ! headers_sent() ) {
			status_header( $response->status );
			foreach ( $response->headers() as $name => $value ) {
				header( "$name: $value" );
			}
		}
		$response->send(
			static function ( string $bytes ) {
				echo $bytes;
			}
		);
		// What other plugins print on shutdown is no part of the response: a buffer that nobody can remove discards it.
		remove_action( 'shutdown', 'wp_ob_end_flush_all', 1 );
		ob_start( '__return_empty_string', 4096, 0 );
		exit;
	}
}
