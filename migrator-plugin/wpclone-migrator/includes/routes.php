<?php
/**
 * What a genuine request is answered with.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Routes {
	/** Both doors serve these and no others. True: only while import is switched on. */
	const ALL = array(
		'status'   => false,
		'manifest' => false,
		'tables'   => false,
		'rows'     => false,
		'checksum' => false,
		'index'    => false,
		'files'    => false,
		'remove'   => false,
		'begin'    => true,
		'table'    => true,
		'load'     => true,
		'store'    => true,
		'staged'   => true,
		'seal'     => true,
		'swap'     => true,
		'undo'     => true,
		'forget'   => true,
		'abort'    => true,
	);

	/** Those that take frames in. */
	const TAKE_FRAMES = array( 'load', 'store' );

	/** Those that answer with frames. */
	const GIVE_FRAMES = array( 'tables', 'rows', 'index', 'files', 'staged' );

	/** Whether a request's body is frames rather than JSON. */
	public static function takes_frames( string $route ): bool {
		return in_array( $route, self::TAKE_FRAMES, true );
	}

	/** The answer to a request. A refusal is 403 and says nothing. */
	public static function answer( Request $request, int $now ): Answer {
		$state = State::load();
		$key   = (string) $state->key( $now );
		if ( ! Gate::admits( $request, $state, $now ) ) {
			return Answer::refusal();
		}
		$for_import = self::ALL[ $request->route ] ?? null;
		if ( null === $for_import ) {
			return Answer::json( $request, $key, 404, array() );
		}
		if ( $for_import && ! $state->import() ) {
			return Answer::refusal();
		}
		try {
			if ( 'status' === $request->route ) {
				return Answer::json( $request, $key, 200, self::status( $state ) );
			}
			if ( 'remove' === $request->route ) {
				return Answer::json( $request, $key, 200, Removal::members( $request->json() ) );
			}
			Db::get()->take_place();
			if ( in_array( $request->route, self::GIVE_FRAMES, true ) ) {
				$body = $request->json();
				return Answer::frames(
					$request,
					$key,
					static function ( Frames $out ) use ( $request, $body, $state ) {
						return self::send( $request->route, $body, $out, $state );
					}
				);
			}
			return Answer::measured(
				$request,
				$key,
				static function () use ( $request ) {
					return self::members( $request );
				}
			);
		} catch ( \Throwable $thrown ) {
			$told = Trouble::told( $thrown );
			return Answer::json( $request, $key, Trouble::status( $told ), $told );
		}
	}

	/** What is answered with frames; the members of the last one. */
	private static function send( string $route, Json $body, Frames $out, State $state ): array {
		switch ( $route ) {
			case 'tables':
				return Schema::send( $body, $out );
			case 'rows':
				return Rows::send( $body, $out );
			case 'index':
				return Index::send( $body, $out, $state );
			case 'staged':
				return Import::staged( $body, $out, $state );
			default:
				return Files::send( $body, $out, $state );
		}
	}

	/** What is answered with JSON. */
	private static function members( Request $request ): array {
		switch ( $request->route ) {
			case 'manifest':
				return Manifest::members();
			case 'checksum':
				return self::checksum( $request->json() );
			default:
				return Import::members( $request );
		}
	}

	/** Rows counted and not sent. */
	private static function checksum( Json $body ): array {
		if ( $body->has( 'job' ) ) {
			return Import::checksum( $body );
		}
		$rows   = Rows::of( Db::get(), $body->text_of( 'table', '/\A.{1,255}\z/s' ) );
		$cursor = $rows->run( $body->part( 'cursor' ), new Budget( $body ), null );
		return array( 'cursor' => $cursor ) + $rows->counted();
	}

	/** The plugin's version, from the header of its main file. */
	public static function version(): string {
		return get_file_data( PLUGIN_FILE, array( 'version' => 'Version' ) )['version'];
	}

	/** @return array<string, mixed> */
	private static function status( State $state ): array {
		global $wp_version;
		return array(
			'plugin_version' => self::version(),
			'wordpress'      => (string) $wp_version,
			'php'            => PHP_VERSION,
			'import_enabled' => $state->import(),
			'open_until'     => $state->opened_until(),
			'site_url'       => (string) get_option( 'siteurl' ),
			'home_url'       => (string) get_option( 'home' ),
			'multisite'      => is_multisite(),
		);
	}
}
