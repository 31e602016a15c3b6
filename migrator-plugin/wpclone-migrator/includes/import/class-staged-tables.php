<?php
/**
 * Tables, views and triggers of a job: each gets an id, and tables are created under a staging name.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Staged_Tables {
	/** The maximum number of tables, views and triggers of a job. */
	const MAX_TABLES = 50000;

	/** The name of a new table until the swap. */
	public static function staged_name( int $id ): string {
		return Import_Job::prefixed( "new_$id" );
	}

	/** The name of the table that it replaced, after the swap. */
	public static function previous_name( int $id ): string {
		return Import_Job::prefixed( "old_$id" );
	}

	/** The route `define`: creates a table, or returns the one that was created before. */
	public static function define( Import_Job $job, Json_Object $body ): array {
		$definition = $body->get_object( 'definition' );
		if ( null === $definition ) {
			throw Migrator_Error::bad_request( 'definition' );
		}
		$db    = Database::shared();
		$kind  = $definition->get_string( 'kind', '/\A(?:table|view|trigger|sequence)\z/' );
		$name  = self::checked_name( $job, $kind, $definition );
		$known = $db->fetch_all( 'SELECT id, created, adjustments FROM ' . Import_Job::table_identifier( 'tables' ) . ' WHERE kind = ' . $db->quote( $kind ) . ' AND name = ' . $db->quote( $name ) )[0] ?? null;
		if ( null !== $known && '1' === $known[1] && ! $body->get_bool( 'recreate', false ) ) {
			return self::result( $db, $kind, (int) $known[0], json_decode( $known[2], true ) );
		}
		$id = null === $known ? 1 + (int) $db->fetch_value( 'SELECT MAX(id) FROM ' . Import_Job::table_identifier( 'tables' ) ) : (int) $known[0];
		if ( $id > self::MAX_TABLES ) {
			throw new Migrator_Error( 'rejected', array( 'field' => 'definition' ) );
		}
		self::check_case( $db, $kind, $name, $id );
		$adjustments   = array();
		$transactional = true;
		$sql           = '';
		if ( 'table' === $kind ) {
			$builder       = new Table_Builder( $db, $definition );
			$sql           = $builder->sql( self::staged_name( $id ) );
			$adjustments   = $builder->adjustments();
			$transactional = $builder->is_transactional();
		}
		if ( 'sequence' === $kind ) {
			$sql = Sequences::create_sql( $db, $definition, self::staged_name( $id ) );
		}
		self::record( $db, $id, $kind, $name, Json_Object::encode( $body->get( 'definition' ) ), Json_Object::encode( $adjustments ), $transactional );
		if ( 'table' === $kind ) {
			self::create_table( $db, $id, $sql );
		} elseif ( 'sequence' === $kind ) {
			Sequences::create( $db, $definition, self::staged_name( $id ), $sql );
		}
		$db->execute( 'UPDATE ' . Import_Job::table_identifier( 'tables' ) . " SET created = 1 WHERE id = $id" );
		return self::result( $db, $kind, $id, $adjustments );
	}

	/** The route `omit`: forgets a table, whether `define` created it or not, so that the job goes on without it. */
	public static function omit( Json_Object $body ): array {
		$db    = Database::shared();
		$name  = $body->get_string( 'table', '/\A.{1,255}\z/s' );
		$found = Import_Job::table_rows( "kind = 'table' AND name = " . $db->quote( $name ) );
		foreach ( array_column( $found, 'id' ) as $id ) {
			$db->execute( 'SET SESSION foreign_key_checks = 0' );
			$db->execute( 'DROP TABLE IF EXISTS ' . Database::identifier( self::staged_name( $id ) ) );
			$db->execute( 'DELETE FROM ' . Import_Job::table_identifier( 'value_parts' ) . " WHERE table_id = $id" );
			$db->execute( 'DELETE FROM ' . Import_Job::table_identifier( 'tables' ) . " WHERE id = $id" );
		}
		return array( 'done' => true );
	}

	/** `statement` is what the server made of a table's definition, to be compared with the source's. */
	private static function result( Database $db, string $kind, int $id, array $adjustments ): array {
		return array(
			'table_id'    => $id,
			'adjustments' => $adjustments,
			'statement'   => 'table' === $kind ? ( new Schema_Reader( $db ) )->create_statement( self::staged_name( $id ) ) : '',
		);
	}

	/** Records a table before it is created, so that every created table is known. */
	private static function record( Database $db, int $id, string $kind, string $name, string $definition, string $adjustments, bool $transactional ): void {
		$db->execute( 'DELETE FROM ' . Import_Job::table_identifier( 'value_parts' ) . " WHERE table_id = $id" );
		$db->execute(
			'REPLACE INTO ' . Import_Job::table_identifier( 'tables' ) . " (id, kind, name, definition, adjustments, transactional, complete) VALUES ($id, " . $db->quote( $kind ) . ', ' . $db->quote( $name ) . ', '
			. $db->quote( $definition ) . ', ' . $db->quote( $adjustments ) . ', ' . (int) $transactional . ', ' . (int) ( 'table' !== $kind ) . ')'
		);
	}

	/** Creates a staged table; drops the one that there was. */
	public static function create_table( Database $db, int $id, string $sql ): void {
		// Comments and defaults are text: unlike values they need a charset.
		$db->execute( 'SET NAMES utf8mb4' );
		$db->execute( 'SET SESSION foreign_key_checks = 0' );
		// Not every server has these variables, or allows every user to set them.
		$db->try_execute( 'SET SESSION explicit_defaults_for_timestamp = 1' );
		$db->try_execute( 'SET SESSION innodb_strict_mode = 0' );
		$db->execute( 'DROP TABLE IF EXISTS ' . Database::identifier( self::staged_name( $id ) ) );
		$db->execute( $sql );
		$db->execute( 'SET NAMES binary' );
	}

	/** The name of a definition that is acceptable: one that the site may have, and not one of the plugin's tables. */
	private static function checked_name( Import_Job $job, string $kind, Json_Object $definition ): string {
		global $wpdb;
		$name        = $definition->get_string( 'name', '/\A[^\x00\/]{1,255}\z/s' );
		$users       = 'table' === $kind && in_array( $name, array( $wpdb->users, $wpdb->usermeta ), true );
		$is_reserved = Site_Tables::starts_with( strtolower( $name ), strtolower( $wpdb->base_prefix . Site_Tables::PLUGIN_TABLE_PREFIX ) );
		if ( ! Table_Builder::is_name( $name ) || ( 'trigger' !== $kind && ! $users && ! self::may_have( $job, $name ) ) || $is_reserved ) {
			throw new Migrator_Error( 'rejected', array( 'field' => 'name' ) );
		}
		// Nothing of a sequence is SQL of the source.
		$is_sql = in_array( $kind, array( 'view', 'trigger' ), true );
		if ( $is_sql && ! $job->allows( $kind . 's' ) ) {
			throw new Migrator_Error( 'rejected', array( 'field' => 'kind' ) );
		}
		if ( $is_sql ) {
			Views_And_Triggers::check( $job, $definition );
		}
		return $name;
	}

	/**
	 * Whether the site may have a table of this name: with its prefix, or without if the job allows it. A site that keeps its
	 * previous content shares its database perhaps: there, a table without the prefix is never replaced.
	 */
	public static function may_have( Import_Job $job, string $name ): bool {
		global $wpdb;
		if ( Site_Tables::starts_with( $name, $wpdb->base_prefix ) ) {
			return true;
		}
		$db = Database::shared();
		return $job->allows( 'unprefixed_tables' )
			&& ! Site_Tables::starts_with( strtolower( $name ), strtolower( $wpdb->base_prefix ) )
			&& ! Site_Tables::is_of_other_installation( $db, $name )
			&& ( true !== $job->settings['reversible'] || ! Import_Job::table_exists( $db, $name ) );
	}

	/** Rejects a name that this database does not distinguish from another one of the job. */
	private static function check_case( Database $db, string $kind, string $name, int $id ): void {
		foreach ( Import_Job::table_rows( 'id <> ' . $id . ( 'trigger' === $kind ? " AND kind = 'trigger'" : " AND kind <> 'trigger'" ) ) as $other ) {
			if ( $other['name'] === $name || ( strtolower( $other['name'] ) === strtolower( $name ) && '0' !== $db->fetch_value( 'SELECT @@lower_case_table_names' ) ) ) {
				throw new Migrator_Error( 'rejected', array( 'field' => 'name' ) );
			}
		}
	}
}
