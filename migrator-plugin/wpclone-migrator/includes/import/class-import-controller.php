<?php
/**
 * The routes that write into the site. Each belongs to an import job in one of certain phases.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Controller {
	/** Answers a route whose response is JSON; returns the fields. */
	public static function handle( Request $request ): array {
		if ( Route_Table::accepts_frames( $request->route ) ) {
			$frames = $request->frames();
			if ( ! $frames->valid() || 'J' !== $frames->key() ) {
				throw Migrator_Error::bad_request( 'frames' );
			}
			$body = Json_Object::parse( $frames->current() );
			$frames->next();
			$job = self::job_in_phase( $body, array( 'open' ) );
			return 'load-rows' === $request->route ? Row_Loader::load( $job, $body, $frames ) : File_Writer::store( $job, $frames );
		}
		$body = $request->json();
		switch ( $request->route ) {
			case 'begin':
				return Import_Job::begin( $body );
			case 'define':
				$job = self::locked_job( $body, array( 'open' ) );
				return Staged_Tables::define( $job, $body );
			case 'omit':
				self::locked_job( $body, array( 'open' ) );
				return Staged_Tables::omit( $body );
			case 'prepare':
				$job = self::locked_job( $body, array( 'open', 'prepared' ) );
				return Import_Preparation::run( $job, new Request_Budget( $body ) );
			case 'swap':
				$job = self::locked_job( $body, array( 'prepared', 'swapping', 'swapped' ) );
				return Import_Swap::forward( $job, new Request_Budget( $body ) );
			case 'rollback':
				$job = self::locked_job( $body, array( 'prepared', 'swapping', 'swapped', 'rolling_back' ) );
				return array( 'done' => Import_Swap::rollback( $job, new Request_Budget( $body ) ) );
			case 'commit':
				$job = self::locked_job( $body, array( 'swapped', 'cleaning_up' ) );
				return array( 'done' => Import_Cleanup::clean_up( $job, new Request_Budget( $body ) ) );
			default: // abort.
				$job = self::locked_job( $body, array( 'open', 'prepared', 'cleaning_up' ) );
				return array( 'done' => Import_Cleanup::clean_up( $job, new Request_Budget( $body ) ) );
		}
	}

	/** The route `staged-index`: an index of the files stored so far. */
	public static function staged_index( Json_Object $body, Frame_Writer $out, string $index_secret ): array {
		$job  = self::job_in_phase( $body, array( 'open', 'prepared' ) );
		$root = $body->get_string( 'root' );
		$job->staging()->open();
		return File_Index::write( $root, $job->staging()->new_files( $root ), false, $body, $out, $index_secret );
	}

	/** The route `checksum` for a staged table. */
	public static function checksum( Json_Object $body ): array {
		$job        = self::job_in_phase( $body, array( 'open', 'prepared' ) );
		$db         = Database::shared();
		$name       = Staged_Tables::staged_name( $job->table_row( $body->get_int( 'table_id', 1, Staged_Tables::MAX_TABLES ) )['id'] );
		$definition = ( new Schema_Reader( $db ) )->table_definition( $name );
		if ( null === $definition ) {
			throw new Migrator_Error( 'gone' );
		}
		$rows   = new Row_Reader( $db, $definition );
		$cursor = $rows->read( $body->get_object( 'cursor' ), new Request_Budget( $body ), null );
		return array( 'cursor' => $cursor ) + $rows->summary();
	}

	/** The job a request names; it must be in one of these phases. */
	private static function job_in_phase( Json_Object $body, array $phases ): Import_Job {
		$job = Import_Job::find( $body->get_string( 'job', Import_Job::NAME_PATTERN ) );
		if ( ! in_array( $job->phase(), $phases, true ) ) {
			throw Migrator_Error::bad_request( 'job' );
		}
		return $job;
	}

	/** The same, locked against other requests that change the job. */
	private static function locked_job( Json_Object $body, array $phases ): Import_Job {
		$job = self::job_in_phase( $body, $phases );
		$job->lock_exclusively();
		return $job;
	}
}
