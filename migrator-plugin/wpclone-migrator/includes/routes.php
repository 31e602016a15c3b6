<?php
/**
 * What a genuine request is answered with.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Routes {
	/** Route → method of this class. Both doors serve these and no others. */
	const ALL = array( 'status' => 'status' );

	/**
	 * The answer to a request: HTTP status and body. A refusal is 403 and says nothing.
	 *
	 * @return array{0: int, 1: array<string, mixed>}
	 */
	public static function answer( Request $request, int $now ): array {
		$state = State::load();
		if ( ! Gate::admits( $request, $state, $now ) ) {
			return array( 403, array() );
		}
		if ( ! isset( self::ALL[ $request->route ] ) ) {
			return array( 404, array() );
		}
		return array( 200, self::{self::ALL[ $request->route ]}( $state ) );
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
