<?php
/**
 * The two ways in: the front controller, answered while plugins load, and REST.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Doors {
	/** The query parameter of the front controller that names the route. */
	const PARAMETER = 'wpclone_migrator';

	/** The namespace of the REST routes. */
	const REST = 'wpclone-migrator/v1';

	/** Answers and ends if the request is for us; before the theme, and before most plugins do anything. */
	public static function answer_if_asked(): void {
		// phpcs:ignore WordPress.Security.NonceVerification -- the gate checks the signature.
		$route = $_GET[ self::PARAMETER ] ?? null;
		if ( null !== $route ) {
			self::answer( $route );
		}
	}

	/** Registers the REST routes. They are not listed in the index. */
	public static function register_rest(): void {
		foreach ( array_keys( Routes::ALL ) as $route ) {
			register_rest_route(
				self::REST,
				'/' . $route,
				array(
					'methods'             => 'POST',
					'show_in_index'       => false,
					// The gate decides, in the callback: an error from here would tell more than 403.
					'permission_callback' => '__return_true',
					// Not by way of WP_REST_Response: what others do to it would spoil the proof.
					'callback'            => static function () use ( $route ) {
						self::answer( $route );
					},
				)
			);
		}
	}

	/**
	 * Answers and ends the request.
	 *
	 * @param mixed $route
	 */
	private static function answer( $route ): void {
		require_once __DIR__ . '/all.php';
		global $wpdb;
		$wpdb->hide_errors();
		@ini_set( 'display_errors', '0' );
		@ini_set( 'zlib.output_compression', '0' );
		$answer = Routes::answer( Request::current( $route ), time() );
		// What others printed so far would spoil the answer; a buffer that cannot be removed ends the loop.
		while ( ob_get_level() > 0 && @ob_end_clean() ) {
			continue;
		}
		// Too late where others printed without a buffer; wpclone then sees no proof and takes the other door.
		if ( ! headers_sent() ) {
			status_header( $answer->status );
			foreach ( $answer->headers() as $name => $value ) {
				header( "$name: $value" );
			}
		}
		$answer->write(
			static function ( string $bytes ) {
				echo $bytes;
			}
		);
		exit;
	}
}
