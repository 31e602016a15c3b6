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

	/** The answer to what must not be kept by any cache on the way. */
	const HEADERS = array(
		'Cache-Control'          => 'no-store',
		'X-Content-Type-Options' => 'nosniff',
		'X-Robots-Tag'           => 'noindex',
	);

	/** Answers and ends if the request is for us; before the theme, and before most plugins do anything. */
	public static function answer_if_asked(): void {
		// phpcs:ignore WordPress.Security.NonceVerification -- the gate checks the signature.
		$route = $_GET[ self::PARAMETER ] ?? null;
		if ( null === $route ) {
			return;
		}
		global $wpdb;
		$wpdb->hide_errors();
		list( $status, $body ) = Routes::answer( Request::current( $route ), time() );
		// What others printed so far would spoil the JSON; a buffer that cannot be removed ends the loop.
		while ( ob_get_level() > 0 && @ob_end_clean() ) {
			continue;
		}
		// Too late where others printed without a buffer; wpclone then sees no JSON and takes the other door.
		if ( ! headers_sent() ) {
			status_header( $status );
			header( 'Content-Type: application/json; charset=UTF-8' );
			foreach ( self::HEADERS as $name => $value ) {
				header( "$name: $value" );
			}
		}
		echo wp_json_encode( (object) $body );
		exit;
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
					'callback'            => static function () use ( $route ) {
						list( $status, $body ) = Routes::answer( Request::current( $route ), time() );
						return new \WP_REST_Response( (object) $body, $status, self::HEADERS );
					},
				)
			);
		}
	}
}
