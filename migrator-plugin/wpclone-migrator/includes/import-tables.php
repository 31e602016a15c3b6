<?php
/**
 * Tables, views and triggers that are to come: numbered, and tables made under a name of ours.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Tables {
	/** The most tables, views and triggers of a job. */
	const MOST = 50000;

	/** What a new table is called until it is swapped. */
	public static function shadow( int $n ): string {
		return Import_Job::plain( "s$n" );
	}

	/** What the table is called that it took the place of. */
	public static function old( int $n ): string {
		return Import_Job::plain( "o$n" );
	}

	/** The route `table`. */
	public static function take( Import_Job $job, Json $body ): array {
		$wanted = $body->part( 'table' );
		if ( null === $wanted ) {
			throw Trouble::bad( 'table' );
		}
		$db    = Db::get();
		$kind  = $wanted->text_of( 'kind', '/\A(?:table|view|trigger)\z/' );
		$name  = self::checked_name( $job, $kind, $wanted );
		$known = $db->all( 'SELECT n, made, adjusted FROM ' . Import_Job::name( 'tables' ) . ' WHERE kind = ' . $db->text( $kind ) . ' AND name = ' . $db->text( $name ) )[0] ?? null;
		if ( null !== $known && '1' === $known[1] && ! $body->flag( 'anew', false ) ) {
			return self::told( (int) $known[0], json_decode( $known[2], true ) );
		}
		$n = null === $known ? 1 + (int) $db->value( 'SELECT MAX(n) FROM ' . Import_Job::name( 'tables' ) ) : (int) $known[0];
		if ( $n > self::MOST ) {
			throw new Trouble( 'refused', array( 'member' => 'table' ) );
		}
		self::check_case( $db, $kind, $name, $n );
		$adjusted = array();
		$whole    = true;
		$sql      = '';
		if ( 'table' === $kind ) {
			$definition = new Import_Definition( $db, $wanted );
			$sql        = $definition->sql( self::shadow( $n ) );
			$adjusted   = $definition->adjusted();
			$whole      = $definition->is_transactional();
		}
		self::note( $db, $n, $kind, $name, Json::text( $body->any( 'table' ) ), Json::text( $adjusted ), $whole );
		if ( 'table' === $kind ) {
			self::make( $db, $n, $sql );
		}
		$db->run( 'UPDATE ' . Import_Job::name( 'tables' ) . " SET made = 1 WHERE n = $n" );
		return self::told( $n, $adjusted );
	}

	private static function told( int $n, array $adjusted ): array {
		return array(
			'n'        => $n,
			'adjusted' => $adjusted,
		);
	}

	/** Written before the table is made, so that whatever is made is known. */
	private static function note( Db $db, int $n, string $kind, string $name, string $definition, string $adjusted, bool $whole ): void {
		$db->run( 'DELETE FROM ' . Import_Job::name( 'pieces' ) . " WHERE n = $n" );
		$db->run(
			'REPLACE INTO ' . Import_Job::name( 'tables' ) . " (n, kind, name, definition, adjusted, whole, done) VALUES ($n, " . $db->text( $kind ) . ', ' . $db->text( $name ) . ', '
			. $db->text( $definition ) . ', ' . $db->text( $adjusted ) . ', ' . (int) $whole . ', ' . (int) ( 'table' !== $kind ) . ')'
		);
	}

	private static function make( Db $db, int $n, string $sql ): void {
		// Texts of a definition are texts: here a charset is wanted, other than for values.
		$db->run( 'SET NAMES utf8mb4' );
		$db->run( 'SET SESSION foreign_key_checks = 0' );
		// Not every server has these, or lets everybody set them.
		$db->tried( 'SET SESSION explicit_defaults_for_timestamp = 1' );
		$db->tried( 'SET SESSION innodb_strict_mode = 0' );
		$db->run( 'DROP TABLE IF EXISTS ' . Db::name( self::shadow( $n ) ) );
		$db->run( $sql );
		$db->run( 'SET NAMES binary' );
	}

	/** The name, if it may be taken in: it begins with this site's prefix, and is none of ours. */
	private static function checked_name( Import_Job $job, string $kind, Json $wanted ): string {
		global $wpdb;
		$name  = $wanted->text_of( 'name', '/\A[^\x00\/]{1,255}\z/s' );
		$users = 'table' === $kind && in_array( $name, array( $wpdb->users, $wpdb->usermeta ), true );
		$ours  = Tables::begins( strtolower( $name ), strtolower( $wpdb->base_prefix . Tables::OURS ) );
		if ( ! Import_Definition::is_name( $name ) || ( 'trigger' !== $kind && ! $users && ! Tables::begins( $name, $wpdb->base_prefix ) ) || $ours ) {
			throw new Trouble( 'refused', array( 'member' => 'name' ) );
		}
		if ( 'table' !== $kind && ! $job->allows( $kind . 's' ) ) {
			throw new Trouble( 'refused', array( 'member' => 'kind' ) );
		}
		if ( 'table' !== $kind ) {
			Import_Views::check( $wanted );
		}
		return $name;
	}

	/** Two names that this database takes for the same would be in each other's way. */
	private static function check_case( Db $db, string $kind, string $name, int $n ): void {
		foreach ( Import_Job::tables( 'n <> ' . $n . ( 'trigger' === $kind ? " AND kind = 'trigger'" : " AND kind <> 'trigger'" ) ) as $other ) {
			if ( $other['name'] === $name || ( strtolower( $other['name'] ) === strtolower( $name ) && '0' !== $db->value( 'SELECT @@lower_case_table_names' ) ) ) {
				throw new Trouble( 'refused', array( 'member' => 'name' ) );
			}
		}
	}
}
