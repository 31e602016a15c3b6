<?php
/**
 * Views and triggers: taken only where the one who sends allowed them, and made last of all.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Views {
	const MOST_BYTES = 262144;

	/** Refuses what could not be made of a view or trigger. */
	public static function check( Json $wanted ): void {
		$is_view = 'view' === $wanted->any( 'kind' );
		$forms   = $is_view ? array(
			'select'       => '/\A\s*+\(?select\b[^\x00]*+\z/si',
			'security'     => '/\A(?:DEFINER|INVOKER)\z/',
			'check_option' => '/\A(?:NONE|LOCAL|CASCADED)\z/',
		) : array(
			'table'  => '/\A.{1,255}\z/s',
			'timing' => '/\A(?:BEFORE|AFTER)\z/',
			'event'  => '/\A(?:INSERT|UPDATE|DELETE)\z/',
			'body'   => '/\A[^\x00]++\z/s',
		);
		foreach ( $forms as $member => $form ) {
			$text = $wanted->any( $member );
			if ( ! is_string( $text ) || strlen( $text ) > self::MOST_BYTES || 1 !== preg_match( $form, $text ) || 1 !== preg_match( '//u', $text ) ) {
				throw Import_Definition::refused( $member );
			}
		}
		global $wpdb;
		if ( ! $is_view && ! Tables::begins( $wanted->any( 'table' ), $wpdb->base_prefix ) ) {
			throw Import_Definition::refused( 'table' );
		}
	}

	/** Makes those of a job; gives the ones that the database did not take: kind, name, errno. */
	public static function make(): array {
		$db   = Db::get();
		$left = array();
		$db->run( 'SET NAMES utf8mb4' );
		$views = Import_Job::tables( "kind = 'view'" );
		// A view may need another one that comes later by name.
		do {
			$again = array();
			$left  = array();
			foreach ( $views as $view ) {
				if ( ! self::make_view( $db, $view ) ) {
					$again[] = $view;
					$left[]  = self::left( $db, $view );
				}
			}
			$fewer = count( $again ) < count( $views );
			$views = $again;
		} while ( $views && $fewer );
		foreach ( Import_Job::tables( "kind = 'trigger'" ) as $trigger ) {
			if ( ! self::make_trigger( $db, $trigger ) ) {
				$left[] = self::left( $db, $trigger );
			}
		}
		$db->run( 'SET NAMES binary' );
		return $left;
	}

	/** Removes those that were made. */
	public static function remove(): void {
		$db = Db::get();
		foreach ( Import_Job::tables( "kind <> 'table' AND sealed = 2" ) as $made ) {
			if ( 'view' === $made['kind'] ) {
				$db->run( 'DROP VIEW IF EXISTS ' . Db::name( $made['name'] ) );
			} else {
				self::drop_trigger( $db, $made );
			}
			self::note( $db, $made['n'], 0 );
		}
	}

	private static function left( Db $db, array $what ): array {
		return array(
			'kind'  => $what['kind'],
			'name'  => $what['name'],
			'errno' => $db->errno(),
		);
	}

	/** Whoever this site is in the database makes it; who did at its source is not known here. */
	private static function make_view( Db $db, array $view ): bool {
		$wanted = Import_Job::definition( $view['n'] );
		$check  = $wanted->any( 'check_option' );
		// Noted before: after a kill in between it is made once more, and what was there before is not taken for it.
		self::note( $db, $view['n'], 2 );
		return $db->tried( 'CREATE OR REPLACE SQL SECURITY ' . $wanted->any( 'security' ) . ' VIEW ' . Db::name( $view['name'] ) . ' AS ' . $wanted->any( 'select' ) . ( 'NONE' === $check ? '' : " WITH $check CHECK OPTION" ) );
	}

	/** A name that the old table's trigger has, which is kept for the way back, gets a number. */
	private static function make_trigger( Db $db, array $trigger ): bool {
		$wanted = Import_Job::definition( $trigger['n'] );
		self::note( $db, $trigger['n'], 2 );
		self::drop_trigger( $db, $trigger );
		foreach ( self::trigger_names( $trigger ) as $name ) {
			if ( $db->tried( 'CREATE TRIGGER ' . Db::name( $name ) . ' ' . $wanted->any( 'timing' ) . ' ' . $wanted->any( 'event' ) . ' ON ' . Db::name( $wanted->any( 'table' ) ) . ' FOR EACH ROW ' . $wanted->any( 'body' ) ) ) {
				return true;
			}
			if ( 1359 !== $db->errno() ) {
				return false;
			}
		}
		return false;
	}

	private static function drop_trigger( Db $db, array $trigger ): void {
		$table = (string) Import_Job::definition( $trigger['n'] )->any( 'table' );
		foreach ( self::trigger_names( $trigger ) as $name ) {
			$of = $db->value( 'SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = ' . Db::utf8( $name ) );
			if ( $of === $table ) {
				$db->run( 'DROP TRIGGER IF EXISTS ' . Db::name( $name ) );
			}
		}
	}

	/** @return string[] */
	private static function trigger_names( array $trigger ): array {
		return array( $trigger['name'], Import_Definition::cut( $trigger['name'], 56 ) . "_{$trigger['n']}" );
	}

	private static function note( Db $db, int $n, int $sealed ): void {
		$db->run( 'UPDATE ' . Import_Job::name( 'tables' ) . " SET sealed = $sealed WHERE n = $n" );
	}
}
