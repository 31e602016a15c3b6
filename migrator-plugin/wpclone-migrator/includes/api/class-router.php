<?php
/**
 * Dispatches authenticated requests to the code behind their route.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Router {
	/** The response to a request. A rejection is 403 without a reason. */
	public static function respond( Request $request, int $now ): Response {
		$window = Access_Window::load();
		$key    = (string) $window->key_for( $request->route, $now );
		if ( ! Request_Authenticator::authenticate( $request, $window, $now ) ) {
			return Response::forbidden();
		}
		$import_only = Route_Table::IMPORT_ONLY[ $request->route ] ?? null;
		if ( null === $import_only ) {
			return Response::json( $request, $key, 404, array() );
		}
		if ( $import_only && ! $window->import_enabled() && ! self::undoes_own_import( $request ) ) {
			return Response::forbidden();
		}
		try {
			if ( 'status' === $request->route ) {
				return Response::json( $request, $key, 200, self::status( $window ) );
			}
			if ( 'remove' === $request->route ) {
				return Response::json( $request, $key, 200, Plugin_Removal::run( $request->json() ) );
			}
			Database::shared()->acquire_slot();
			if ( Route_Table::returns_frames( $request->route ) ) {
				$body = $request->json();
				return Response::frames(
					$request,
					$key,
					static function ( Frame_Writer $out ) use ( $request, $body, $window ) {
						return self::write_frames( $request->route, $body, $out, $window->index_secret() );
					}
				);
			}
			return Response::json_with_memory(
				$request,
				$key,
				static function () use ( $request ) {
					return self::json_fields( $request );
				}
			);
		} catch ( \Throwable $thrown ) {
			$described = Migrator_Error::describe( $thrown );
			return Response::json( $request, $key, Migrator_Error::http_status( $described ), $described );
		}
	}

	/** Whether a request undoes the current job, which it may also after import was disabled. */
	private static function undoes_own_import( Request $request ): bool {
		try {
			return in_array( $request->route, Route_Table::UNDO, true )
				&& Import_Job::is_current( $request->json()->get_string( 'job', Import_Job::NAME_PATTERN ) );
		} catch ( Migrator_Error $error ) {
			return false;
		}
	}

	/** Writes the frames of a response; returns the fields of the last one. */
	private static function write_frames( string $route, Json_Object $body, Frame_Writer $out, string $index_secret ): array {
		switch ( $route ) {
			case 'definitions':
				return Export_Controller::definitions( $body, $out );
			case 'rows':
				return Export_Controller::rows( $body, $out );
			case 'snapshot':
				return Snapshot_Export::send( $body, $out );
			case 'index':
				return Export_Controller::index( $body, $out, $index_secret );
			case 'staged-index':
				return Import_Controller::staged_index( $body, $out, $index_secret );
			default:
				return File_Export::send( $body, $out, $index_secret );
		}
	}

	/** The fields of a JSON response. */
	private static function json_fields( Request $request ): array {
		if ( 'manifest' === $request->route ) {
			return Manifest::build();
		}
		if ( 'checksum' === $request->route ) {
			$body = $request->json();
			return $body->has( 'job' ) ? Import_Controller::checksum( $body ) : Export_Controller::checksum( $body );
		}
		return Import_Controller::handle( $request );
	}

	/** @return array<string, mixed> */
	private static function status( Access_Window $window ): array {
		global $wp_version;
		return array(
			'plugin_version' => plugin_version(),
			'wordpress'      => (string) $wp_version,
			'php'            => PHP_VERSION,
			'import_enabled' => $window->import_enabled(),
			'open_until'     => $window->open_until(),
			'site_url'       => (string) get_option( 'siteurl' ),
			'home_url'       => (string) get_option( 'home' ),
			'multisite'      => is_multisite(),
		);
	}
}
