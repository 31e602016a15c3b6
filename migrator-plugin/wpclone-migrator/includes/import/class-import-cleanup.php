<?php
/**
 * The end of an import job: deletes its tables and folders, and finally its records.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Cleanup {
	/** MySQL's error for a view whose definer has privileges that the user who drops it lacks: SYSTEM_USER. */
	const ACCESS_DENIED = 1227;

	/**
	 * Deletes the tables and folders that are still staged: the new ones of a job that was not swapped, else the previous
	 * ones. Returns whether all of them are gone.
	 */
	public static function clean_up( Import_Job $job, Request_Budget $budget ): bool {
		if ( 'cleaning_up' !== $job->phase() ) {
			$job->save_phase( 'cleaning_up' );
		}
		return self::drop_staged_tables( $budget ) && $job->staging()->remove( $budget ) && self::drop_job_tables();
	}

	/** Ends the job of this name, if any; job_in_progress if there is another one. */
	public static function clean_up_own( ?string $name, Request_Budget $budget ): bool {
		return self::end( Import_Job::lock_own( $name ), $budget );
	}

	/** Ends the current job, if any. */
	public static function clean_up_any( Request_Budget $budget ): bool {
		return self::end( Import_Job::load( Database::shared() ), $budget );
	}

	/** Ends a job in whatever phase it is. A swap or rollback in progress is rolled back first. */
	private static function end( ?Import_Job $job, Request_Budget $budget ): bool {
		if ( null === $job ) {
			return true;
		}
		if ( in_array( $job->phase(), array( 'swapping', 'rolling_back' ), true ) && ! Import_Swap::rollback( $job, $budget ) ) {
			return false;
		}
		return self::clean_up( $job, $budget );
	}

	/** Drops every table and view that still has a staging name. A swap gave the new tables their live names. */
	private static function drop_staged_tables( Request_Budget $budget ): bool {
		$db = Database::shared();
		$db->execute( 'SET SESSION foreign_key_checks = 0' );
		$prefix = Import_Job::prefixed( '' );
		foreach ( $db->fetch_all( 'SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND LEFT(TABLE_NAME, ' . strlen( $prefix ) . ') = ' . Database::utf8_literal( $prefix ) ) as list( $name, $type ) ) {
			if ( 1 !== preg_match( '/\A(?:new|old)_\d+\z/', substr( $name, strlen( $prefix ) ) ) ) {
				continue;
			}
			if ( $budget->deadline_passed() ) {
				return false;
			}
			$kinds = array(
				Site_Tables::VIEW     => 'VIEW',
				Site_Tables::SEQUENCE => 'SEQUENCE',
			);
			try {
				$db->execute( 'DROP ' . ( $kinds[ $type ] ?? 'TABLE' ) . ' IF EXISTS ' . Database::identifier( $name ) );
			} catch ( Migrator_Error $error ) {
				if ( Site_Tables::VIEW !== $type || self::ACCESS_DENIED !== ( $error->fields['errno'] ?? 0 ) ) {
					throw $error;
				}
				self::set_aside( $db, $name );
			}
		}
		return true;
	}

	/** Renames a view that this site's database user may rename but not drop, so that no later job takes it for its own. */
	private static function set_aside( Database $db, string $view ): void {
		$kept = Import_Job::prefixed( 'kept_' . bin2hex( random_bytes( 8 ) ) );
		$db->execute( 'RENAME TABLE ' . Database::identifier( $view ) . ' TO ' . Database::identifier( $kept ) );
	}

	/** Drops the job's own tables, the one that says that there is a job last. */
	private static function drop_job_tables(): bool {
		$db = Database::shared();
		foreach ( array_reverse( array_keys( Import_Job::TABLES ) ) as $what ) {
			$db->execute( 'DROP TABLE IF EXISTS ' . Import_Job::table_identifier( $what ) );
		}
		return true;
	}
}
