<?php
/**
 * The routes that take a site in. Each belongs to a job; what they do is in the files import-….php.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import {
	/** Those that are answered with JSON; `staged` is answered with frames. */
	const ROUTES = array( 'begin', 'table', 'load', 'store', 'seal', 'swap', 'undo', 'forget', 'abort' );

	/** What a job is called. */
	const JOB = '/\A[0-9a-f]{32}\z/';

	/** The members of the answer. */
	public static function members( Request $request ): array {
		if ( Routes::takes_frames( $request->route ) ) {
			$frames = $request->frames();
			if ( ! $frames->valid() || 'J' !== $frames->key() ) {
				throw Trouble::bad( 'frames' );
			}
			$body = Json::parse( $frames->current() );
			$frames->next();
			$job = self::job( $body, array( 'open' ) );
			return 'load' === $request->route ? Import_Load::take( $job, $body, $frames ) : Import_Files::take( $job, $frames );
		}
		$body = $request->json();
		switch ( $request->route ) {
			case 'begin':
				return Import_Job::begin( $body );
			case 'table':
				$job = self::job( $body, array( 'open' ) );
				$job->alone();
				return Import_Tables::take( $job, $body );
			case 'seal':
				$job = self::job( $body, array( 'open', 'sealed' ) );
				$job->alone();
				return Import_Seal::run( $job, new Budget( $body ) );
			case 'swap':
				$job = self::job( $body, array( 'sealed', 'swapping', 'swapped' ) );
				$job->alone();
				return Import_Swap::forth( $job, new Budget( $body ) );
			case 'undo':
				$job = self::job( $body, array( 'sealed', 'swapping', 'swapped', 'undoing' ) );
				$job->alone();
				return array( 'done' => Import_Swap::back( $job, new Budget( $body ) ) );
			case 'forget':
				$job = self::job( $body, array( 'swapped', 'ending' ) );
				$job->alone();
				return array( 'done' => Import_End::run( $job, new Budget( $body ) ) );
			default:
				$job = self::job( $body, array( 'open', 'sealed', 'ending' ) );
				$job->alone();
				return array( 'done' => Import_End::run( $job, new Budget( $body ) ) );
		}
	}

	/** The route `staged`: an index of what was stored. */
	public static function staged( Json $body, Frames $out, State $state ): array {
		$job  = self::job( $body, array( 'open', 'sealed' ) );
		$root = $body->text_of( 'root' );
		$job->staging()->open();
		return Index::of( $root, $job->staging()->fresh( $root ), false, $body, $out, $state->secret() );
	}

	/** Rows of a table that was taken in, counted. */
	public static function checksum( Json $body ): array {
		$job  = self::job( $body, array( 'open', 'sealed' ) );
		$db   = Db::get();
		$name = Import_Tables::shadow( $job->table( $body->number( 'n', 1, Import_Tables::MOST ) )['n'] );
		$made = ( new Schema( $db ) )->table( $name );
		if ( null === $made ) {
			throw new Trouble( 'moved' );
		}
		$rows   = new Rows( $db, $made );
		$cursor = $rows->run( $body->part( 'cursor' ), new Budget( $body ), null );
		return array( 'cursor' => $cursor ) + $rows->counted();
	}

	/** The job that a request belongs to; it has to be at one of these points. */
	private static function job( Json $body, array $phases ): Import_Job {
		$job = Import_Job::find( $body->text_of( 'job', self::JOB ) );
		if ( ! in_array( $job->phase(), $phases, true ) ) {
			throw Trouble::bad( 'job' );
		}
		return $job;
	}
}
