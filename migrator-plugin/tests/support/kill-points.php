<?php
/**
 * Functions in the plugin's namespace that PHP resolves before its own: they count the steps that change something.
 */

namespace Wpclone\Migrator;

/** Counts steps. At the chosen one the process ends as by kill -9, before or after the step. */
final class Kill_Points {
	public static $count = 0;
	public static $kill  = 0;
	/** @var callable Ends the process at once. */
	public static $end;

	public static function step( callable $do ) {
		++self::$count;
		if ( self::$kill === 2 * self::$count - 1 ) {
			( self::$end )();
		}
		$done = $do();
		if ( self::$kill === 2 * self::$count ) {
			( self::$end )();
		}
		return $done;
	}
}

function rename( $from, $to ) {
	return Kill_Points::step( static function () use ( $from, $to ) { return \rename( $from, $to ); } );
}

function mysqli_query( $link, $sql, $mode = MYSQLI_STORE_RESULT ) {
	$changes = 1 !== preg_match( '/\A(?:SELECT|SET|SHOW)/', $sql );
	$do      = static function () use ( $link, $sql, $mode ) { return \mysqli_query( $link, $sql, $mode ); };
	return $changes ? Kill_Points::step( $do ) : $do();
}
