<?php
/**
 * The routes of the protocol. Both endpoints, front controller and REST, serve these and no others.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Route_Table {
	/** Route => whether it exists only while import is enabled. */
	const IMPORT_ONLY = array(
		'status'       => false,
		'manifest'     => false,
		'definitions'  => false,
		'rows'         => false,
		'checksum'     => false,
		'snapshot'     => false,
		'index'        => false,
		'files'        => false,
		'remove'       => false,
		'begin'        => true,
		'define'       => true,
		'omit'         => true,
		'load-rows'    => true,
		'store-files'  => true,
		'staged-index' => true,
		'prepare'      => true,
		'swap'         => true,
		'rollback'     => true,
		'commit'       => true,
		'abort'        => true,
	);

	/** Routes that only undo. */
	const UNDO = array( 'remove', 'rollback', 'commit', 'abort' );

	/** Routes whose request body is frames instead of JSON. */
	const FRAME_REQUESTS = array( 'load-rows', 'store-files' );

	/** Routes whose response is frames instead of JSON. */
	const FRAME_RESPONSES = array( 'definitions', 'rows', 'snapshot', 'index', 'files', 'staged-index' );

	/** Whether the request body of a route is frames. */
	public static function accepts_frames( string $route ): bool {
		return in_array( $route, self::FRAME_REQUESTS, true );
	}

	/** Whether the response of a route is frames. */
	public static function returns_frames( string $route ): bool {
		return in_array( $route, self::FRAME_RESPONSES, true );
	}
}
