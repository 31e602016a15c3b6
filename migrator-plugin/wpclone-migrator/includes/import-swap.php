<?php
/**
 * Old becomes new, and back again. First folders, entry by entry, noted beforehand so that what happened can be told
 * from what is there; then all tables at once; then views and triggers. Backwards it is the other way round.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Swap {
	/** How long renaming waits for those who read the tables, in seconds. */
	const WAIT = 5;

	/** The route `swap`. */
	public static function forth( Import_Job $job, Budget $budget ): array {
		$undo = true === $job->settings['undo'];
		$told = array(
			'done' => true,
			'undo' => $undo,
			'left' => $job->settings['left'] ?? array(),
		);
		if ( 'swapped' === $job->phase() ) {
			return $told;
		}
		ignore_user_abort( true );
		$job->staging()->open();
		if ( 'sealed' === $job->phase() ) {
			Import_Moves::plan( $job );
			$job->note( 'swapping' );
		}
		if ( ! Import_Moves::forth( $job, $budget ) ) {
			return array( 'done' => false ) + $told;
		}
		self::rename_tables( true );
		$job->settings['left'] = Import_Views::make();
		$job->note( 'swapped' );
		self::forget_caches();
		$told['left'] = $job->settings['left'];
		return $told;
	}

	/** The route `undo`: says whether all is as it was. */
	public static function back( Import_Job $job, Budget $budget ): bool {
		if ( 'sealed' === $job->phase() ) {
			return true;
		}
		if ( 'swapped' === $job->phase() && true !== $job->settings['undo'] ) {
			throw Trouble::bad( 'job' );
		}
		ignore_user_abort( true );
		$job->staging()->open();
		if ( 'undoing' !== $job->phase() ) {
			$job->note( 'undoing' );
		}
		Import_Views::remove();
		self::rename_tables( false );
		if ( ! Import_Moves::back( $job, $budget ) ) {
			return false;
		}
		unset( $job->settings['left'] );
		$job->note( 'sealed' );
		self::forget_caches();
		return true;
	}

	/**
	 * Renames all tables in one statement. What was renamed already is told by which tables there are: a server that
	 * is older than atomic renames may have been ended in the middle.
	 */
	private static function rename_tables( bool $forth ): void {
		global $wpdb;
		$db      = Db::get();
		$renames = array();
		$options = null;
		foreach ( Import_Job::tables( "kind <> 'trigger'" ) as $table ) {
			list( $live, $new, $old ) = array( $table['name'], Import_Tables::shadow( $table['n'] ), Import_Tables::old( $table['n'] ) );
			$is_view                  = 'view' === $table['kind'];
			$has_new                  = ! $is_view && Import_Job::exists( $db, $new );
			$has_live                 = Import_Job::exists( $db, $live );
			$has_old                  = Import_Job::exists( $db, $old );
			if ( $forth ) {
				if ( $has_live && ! $has_old && ( $has_new || ( $is_view && '2' !== $table['sealed'] ) ) ) {
					$renames[] = array( $live, $old );
				}
				if ( $has_new ) {
					$renames[] = array( $new, $live );
				}
				$from = $has_new && $has_live ? array( $live, $new, $old, $live ) : null;
			} else {
				if ( ! $is_view && ! $has_new && $has_live ) {
					$renames[] = array( $live, $new );
				}
				if ( $has_old ) {
					$renames[] = array( $old, $live );
				}
				$from = ! $has_new && $has_old ? array( $live, $old, $new, $live ) : null;
			}
			if ( ! $is_view && $live === $wpdb->options ) {
				$options = $from;
			}
		}
		// The key, and which requests were seen, are those of this moment.
		if ( null !== $options ) {
			Import_Kept::options( $db, $options[0], $options[1] );
		}
		if ( $renames ) {
			$db->run( 'SET SESSION lock_wait_timeout = ' . self::WAIT );
			self::rename( $db, $renames );
		}
		if ( null !== $options ) {
			Import_Kept::more_options( $db, $options[2], $options[3] );
		}
	}

	private static function rename( Db $db, array $renames ): void {
		$parts = array();
		foreach ( $renames as list( $from, $to ) ) {
			$parts[] = Db::name( $from ) . ' TO ' . Db::name( $to );
		}
		if ( $db->tried( 'RENAME TABLE ' . implode( ', ', $parts ) ) ) {
			return;
		}
		// Somebody reads one of the tables, and does not end.
		throw 1205 === $db->errno() ? new Trouble( 'busy' ) : $db->trouble();
	}

	/** What others remember of the site as it was. */
	private static function forget_caches(): void {
		if ( function_exists( 'wp_cache_flush' ) ) {
			wp_cache_flush();
		}
		if ( function_exists( 'opcache_reset' ) ) {
			@opcache_reset();
		}
	}
}
