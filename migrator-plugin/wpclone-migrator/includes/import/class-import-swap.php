<?php
/**
 * Replaces the live site by the imported one, and rolls back. Forward: files, entry by entry with a journal; then all tables
 * in one statement; then views and triggers. A rollback does the same in reverse order.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Swap {
	/** How long the rename waits for transactions that use the tables, in seconds. */
	const LOCK_WAIT_SECONDS = 5;

	/** The route `swap`. */
	public static function forward( Import_Job $job, Request_Budget $budget ): array {
		$reversible = true === $job->settings['reversible'];
		$result     = array(
			'done'       => true,
			'reversible' => $reversible,
			'rejected'   => self::rejected( $job ),
		);
		if ( 'swapped' === $job->phase() ) {
			return $result;
		}
		ignore_user_abort( true );
		$job->staging()->open();
		if ( 'prepared' === $job->phase() ) {
			Move_Journal::plan( $job );
			$job->save_phase( 'swapping' );
		}
		if ( ! Move_Journal::forward( $job, $budget ) ) {
			return array( 'done' => false ) + $result;
		}
		self::rename_tables( true );
		$job->settings['rejected'] = array_merge( Sequences::set_defaults(), Views_And_Triggers::create() );
		$job->save_phase( 'swapped' );
		self::flush_caches();
		$result['rejected'] = self::rejected( $job );
		return $result;
	}

	/** What the database rejected: foreign keys when the job was prepared, the rest with the swap. */
	private static function rejected( Import_Job $job ): array {
		return array_merge( array_values( $job->settings['rejected_foreign_keys'] ?? array() ), $job->settings['rejected'] ?? array() );
	}

	/** The route `rollback`: returns whether it is done. */
	public static function rollback( Import_Job $job, Request_Budget $budget ): bool {
		if ( 'prepared' === $job->phase() ) {
			return true;
		}
		if ( 'swapped' === $job->phase() && true !== $job->settings['reversible'] ) {
			throw Migrator_Error::bad_request( 'job' );
		}
		ignore_user_abort( true );
		$job->staging()->open();
		if ( 'rolling_back' !== $job->phase() ) {
			$job->save_phase( 'rolling_back' );
		}
		Views_And_Triggers::remove();
		self::rename_tables( false );
		if ( ! Move_Journal::rollback( $job, $budget ) ) {
			return false;
		}
		unset( $job->settings['rejected'] );
		$job->save_phase( 'prepared' );
		self::flush_caches();
		return true;
	}

	/**
	 * Renames all tables in one statement. Which tables exist shows which renames were done: servers without atomic renames may
	 * have been interrupted between two of them.
	 */
	private static function rename_tables( bool $forward ): void {
		$db      = Database::shared();
		$renames = array();
		foreach ( Import_Job::table_rows( "kind <> 'trigger'" ) as $table ) {
			list( $live, $new, $old ) = array( $table['name'], Staged_Tables::staged_name( $table['id'] ), Staged_Tables::previous_name( $table['id'] ) );
			$is_view                  = 'view' === $table['kind'];
			$has_new                  = ! $is_view && Import_Job::table_exists( $db, $new );
			$has_live                 = Import_Job::table_exists( $db, $live );
			$has_old                  = Import_Job::table_exists( $db, $old );
			if ( $forward ) {
				if ( $has_live && ! $has_old && ( $has_new || ( $is_view && '2' !== $table['prepared'] ) ) ) {
					$renames[] = array( $live, $old );
				}
				if ( $has_new ) {
					$renames[] = array( $new, $live );
				}
			} else {
				if ( ! $is_view && ! $has_new && $has_live ) {
					$renames[] = array( $live, $new );
				}
				if ( $has_old ) {
					$renames[] = array( $old, $live );
				}
			}
		}
		if ( $renames ) {
			$db->execute( 'SET SESSION lock_wait_timeout = ' . self::LOCK_WAIT_SECONDS );
			self::rename( $db, $renames );
		}
	}

	private static function rename( Database $db, array $renames ): void {
		$parts = array();
		foreach ( $renames as list( $from, $to ) ) {
			$parts[] = Database::identifier( $from ) . ' TO ' . Database::identifier( $to );
		}
		if ( $db->try_execute( 'RENAME TABLE ' . implode( ', ', $parts ) ) ) {
			return;
		}
		// A transaction uses one of the tables and does not end.
		throw 1205 === $db->last_errno() ? new Migrator_Error( 'busy' ) : $db->last_error();
	}

	/** Flushes caches that hold the site as it was. */
	private static function flush_caches(): void {
		if ( function_exists( 'wp_cache_flush' ) ) {
			wp_cache_flush();
		}
		if ( function_exists( 'opcache_reset' ) ) {
			@opcache_reset();
		}
	}
}
