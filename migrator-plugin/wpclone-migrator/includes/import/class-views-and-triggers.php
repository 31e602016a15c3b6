<?php
/**
 * Views and triggers: imported only if `begin` allowed them, and created after the swap of tables.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Views_And_Triggers {
	const MAX_BYTES = 262144;

	/** The limit of MySQL and MariaDB for the columns of a view. */
	const MAX_COLUMNS = 4096;

	/** Rejects a view or trigger that could not be created. */
	public static function check( Import_Job $job, Json_Object $definition ): void {
		$is_view  = 'view' === $definition->get( 'kind' );
		$patterns = $is_view ? array(
			'select'       => '/\A[\s(]*+(?:select|with|values|table)\b[^\x00]*+\z/si',
			'security'     => '/\A(?:DEFINER|INVOKER)\z/',
			'check_option' => '/\A(?:NONE|LOCAL|CASCADED)\z/',
			'algorithm'    => '/\A(?:UNDEFINED|MERGE|TEMPTABLE)?\z/',
		) : array(
			'table'    => '/\A.{1,255}\z/s',
			'timing'   => '/\A(?:BEFORE|AFTER)\z/',
			'event'    => '/\A(?:INSERT|UPDATE|DELETE)\z/',
			'body'     => '/\A[^\x00]++\z/s',
			'sql_mode' => '/\A[A-Z0-9_,]*\z/',
		);
		foreach ( $patterns as $field => $pattern ) {
			$text = $definition->get( $field ) ?? ( in_array( $field, array( 'algorithm', 'sql_mode' ), true ) ? '' : null );
			if ( ! is_string( $text ) || strlen( $text ) > self::MAX_BYTES || 1 !== preg_match( $pattern, $text ) || 1 !== preg_match( '//u', $text ) ) {
				throw Table_Builder::rejected( $field );
			}
		}
		if ( $is_view ) {
			self::columns( $definition );
		}
		if ( ! $is_view && ! Staged_Tables::may_have( $job, $definition->get( 'table' ) ) ) {
			throw Table_Builder::rejected( 'table' );
		}
	}

	/** Creates those of a job; returns the ones that the database rejected: kind, name, errno, message. */
	public static function create(): array {
		$db       = Database::shared();
		$rejected = array();
		$db->execute( 'SET NAMES utf8mb4' );
		$views = Import_Job::table_rows( "kind = 'view'" );
		// A view may depend on one that sorts after it.
		do {
			$failed   = array();
			$rejected = array();
			foreach ( $views as $view ) {
				if ( ! self::create_view( $db, $view ) ) {
					$failed[]   = $view;
					$rejected[] = self::rejected( $db, 'view', $view['name'] );
				}
			}
			$fewer = count( $failed ) < count( $views );
			$views = $failed;
		} while ( $views && $fewer );
		foreach ( self::ordered_triggers() as $trigger ) {
			if ( ! self::create_trigger( $db, $trigger ) ) {
				$rejected[] = self::rejected( $db, 'trigger', $trigger['name'] );
			}
			$db->reset_sql_mode();
		}
		$db->execute( 'SET NAMES binary' );
		return $rejected;
	}

	/** The triggers of the job in the order in which those of one table run. */
	private static function ordered_triggers(): array {
		$triggers = Import_Job::table_rows( "kind = 'trigger'" );
		$orders   = array();
		foreach ( $triggers as $trigger ) {
			$orders[ $trigger['id'] ] = (int) Import_Job::definition( $trigger['id'] )->get( 'order' );
		}
		usort(
			$triggers,
			static function ( $a, $b ) use ( $orders ) {
				return array( $orders[ $a['id'] ], $a['id'] ) <=> array( $orders[ $b['id'] ], $b['id'] );
			}
		);
		return $triggers;
	}

	/** Drops those that were created. */
	public static function remove(): void {
		$db = Database::shared();
		foreach ( Import_Job::table_rows( "kind <> 'table' AND prepared = 2" ) as $created ) {
			if ( 'view' === $created['kind'] ) {
				$db->execute( 'DROP VIEW IF EXISTS ' . Database::identifier( $created['name'] ) );
			} else {
				self::drop_trigger( $db, $created );
			}
			self::set_created( $db, $created['id'], 0 );
		}
	}

	/** What the database rejected with its last error. */
	public static function rejected( Database $db, string $kind, string $name ): array {
		return array(
			'kind'    => $kind,
			'name'    => $name,
			'errno'   => $db->last_errno(),
			'message' => $db->last_message(),
		);
	}

	/** Created as this site's database user; the definer at the source is unknown here. */
	private static function create_view( Database $db, array $view ): bool {
		$definition = Import_Job::definition( $view['id'] );
		$check      = $definition->get( 'check_option' );
		$algorithm  = (string) $definition->get( 'algorithm' );
		// Recorded first: after a kill it is created once more, and an existing view is not taken for it.
		self::set_created( $db, $view['id'], 2 );
		return $db->try_execute( 'CREATE OR REPLACE ' . ( '' === $algorithm ? '' : "ALGORITHM = $algorithm " ) . 'SQL SECURITY ' . $definition->get( 'security' ) . ' VIEW ' . Database::identifier( $view['name'] ) . self::columns( $definition ) . ' AS ' . $definition->get( 'select' ) . ( 'NONE' === $check ? '' : " WITH $check CHECK OPTION" ) );
	}

	/** The list of a view's own names of its columns: the text of its query need not have them. Empty if they are not known. */
	private static function columns( Json_Object $definition ): string {
		$names = $definition->get_list( 'columns', self::MAX_COLUMNS, array() );
		foreach ( $names as $name ) {
			if ( ! is_string( $name ) || 1 !== preg_match( '/\A[^\x00]{1,64}\z/su', $name ) ) {
				throw Table_Builder::rejected( 'columns' );
			}
		}
		return $names ? ' (' . implode( ', ', array_map( array( Database::class, 'identifier' ), $names ) ) . ')' : '';
	}

	/** If the previous table's trigger, kept for a rollback, has the name, a number is added. */
	private static function create_trigger( Database $db, array $trigger ): bool {
		$definition = Import_Job::definition( $trigger['id'] );
		self::set_created( $db, $trigger['id'], 2 );
		self::drop_trigger( $db, $trigger );
		self::set_sql_mode( $db, (string) $definition->get( 'sql_mode' ) );
		foreach ( self::trigger_names( $trigger ) as $name ) {
			if ( $db->try_execute( 'CREATE TRIGGER ' . Database::identifier( $name ) . ' ' . $definition->get( 'timing' ) . ' ' . $definition->get( 'event' ) . ' ON ' . Database::identifier( $definition->get( 'table' ) ) . ' FOR EACH ROW ' . $definition->get( 'body' ) ) ) {
				return true;
			}
			if ( 1359 !== $db->last_errno() ) {
				return false;
			}
		}
		return false;
	}

	/** Sets the modes that this server knows. A trigger runs with those of the session that creates it. */
	private static function set_sql_mode( Database $db, string $modes ): void {
		$known = array_filter(
			explode( ',', $modes ),
			static function ( $mode ) use ( $db ) {
				return '' !== $mode && $db->try_execute( "SET SESSION sql_mode = '$mode'" );
			}
		);
		$db->execute( "SET SESSION sql_mode = '" . implode( ',', $known ) . "'" );
	}

	private static function drop_trigger( Database $db, array $trigger ): void {
		$table = (string) Import_Job::definition( $trigger['id'] )->get( 'table' );
		foreach ( self::trigger_names( $trigger ) as $name ) {
			$of = $db->fetch_value( 'SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = ' . Database::utf8_literal( $name ) );
			if ( $of === $table ) {
				$db->execute( 'DROP TRIGGER IF EXISTS ' . Database::identifier( $name ) );
			}
		}
	}

	/** @return string[] */
	private static function trigger_names( array $trigger ): array {
		return array( $trigger['name'], Table_Builder::truncate( $trigger['name'], 56 ) . "_{$trigger['id']}" );
	}

	private static function set_created( Database $db, int $id, int $prepared ): void {
		$db->execute( 'UPDATE ' . Import_Job::table_identifier( 'tables' ) . " SET prepared = $prepared WHERE id = $id" );
	}
}
