<?php
/**
 * The end of a job: what it made and nobody needs any more is removed, and at last what is known of it.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_End {
	/**
	 * Removes tables and folders of a job: the new ones of one that was not swapped, else the old ones. Says whether
	 * all are gone.
	 */
	public static function run( Import_Job $job, Budget $budget ): bool {
		if ( 'ending' !== $job->phase() ) {
			$job->note( 'ending' );
		}
		return self::drop_tables( $budget ) && $job->staging()->remove( $budget ) && self::drop_ours();
	}

	/** Ends whatever job there is, wherever it is: what is neither old nor new becomes old again first. */
	public static function wipe( Budget $budget ): bool {
		$job = Import_Job::load( Db::get() );
		if ( null === $job ) {
			return true;
		}
		if ( in_array( $job->phase(), array( 'swapping', 'undoing' ), true ) && ! Import_Swap::back( $job, $budget ) ) {
			return false;
		}
		return self::run( $job, $budget );
	}

	/** New tables that were swapped have names of the site's by now; what has a name of ours is to go. */
	private static function drop_tables( Budget $budget ): bool {
		$db = Db::get();
		$db->run( 'SET SESSION foreign_key_checks = 0' );
		$ours = $db->all( 'SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND LEFT(TABLE_NAME, ' . strlen( Import_Job::plain( '' ) ) . ') = ' . Db::utf8( Import_Job::plain( '' ) ) );
		foreach ( $ours as list( $name, $type ) ) {
			if ( 1 !== preg_match( '/\A[so]\d+\z/', substr( $name, strlen( Import_Job::plain( '' ) ) ) ) ) {
				continue;
			}
			if ( $budget->late_now() ) {
				return false;
			}
			$db->run( ( 'VIEW' === $type ? 'DROP VIEW IF EXISTS ' : 'DROP TABLE IF EXISTS ' ) . Db::name( $name ) );
		}
		return true;
	}

	/** The job's row goes last. */
	private static function drop_ours(): bool {
		$db = Db::get();
		foreach ( array_reverse( array_keys( Import_Job::TABLES ) ) as $what ) {
			$db->run( 'DROP TABLE IF EXISTS ' . Import_Job::name( $what ) );
		}
		return true;
	}
}
