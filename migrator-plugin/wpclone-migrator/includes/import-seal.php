<?php
/**
 * The end of taking in: foreign keys, and what the site must keep.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Seal {
	const RULES = array( 'RESTRICT', 'CASCADE', 'SET NULL', 'NO ACTION', 'SET DEFAULT' );

	/** The route `seal`. */
	public static function run( Import_Job $job, Budget $budget ): array {
		global $wpdb;
		$tables  = Import_Job::tables( "kind = 'table'" );
		$missing = array();
		foreach ( $tables as $table ) {
			if ( '1' !== $table['made'] || '1' !== $table['done'] || '1' === $table['busy'] ) {
				$missing[] = $table['n'];
			}
		}
		if ( $missing ) {
			throw new Trouble( 'unfinished', array( 'tables' => $missing ) );
		}
		$db    = Db::get();
		$names = array();
		foreach ( $tables as $table ) {
			$names[ $table['name'] ] = Import_Tables::shadow( $table['n'] );
		}
		self::check_others( $db, $names );
		$db->run( 'SET SESSION foreign_key_checks = 0' );
		// MySQL since 8.4 wants a unique key where one leads to; others do not, and do not know the word.
		$db->tried( 'SET SESSION restrict_fk_on_non_standard_key = 0' );
		foreach ( $tables as $table ) {
			if ( '0' !== $table['sealed'] ) {
				continue;
			}
			if ( $budget->late_now() ) {
				return array( 'done' => false );
			}
			self::foreign_keys( $db, $table, $names );
			$db->run( 'UPDATE ' . Import_Job::name( 'tables' ) . " SET sealed = 1 WHERE n = {$table['n']}" );
		}
		if ( isset( $names[ $wpdb->options ] ) ) {
			Import_Kept::options( $db, $wpdb->options, $names[ $wpdb->options ] );
			Import_Kept::activation( $db, $names[ $wpdb->options ] );
		}
		if ( 'open' === $job->phase() ) {
			$job->note( 'sealed' );
		}
		return array( 'done' => true );
	}

	/** A table that stays and refers to one that is replaced would go on referring to the old one. */
	private static function check_others( Db $db, array $names ): void {
		$sql = 'SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL';
		foreach ( $db->all( $sql ) as $row ) {
			if ( isset( $names[ $row[1] ] ) && ! isset( $names[ $row[0] ] ) && ! Tables::begins( $row[0], Import_Job::plain( '' ) ) ) {
				throw new Trouble( 'refused', array( 'member' => 'tables', 'table' => $row[0] ) );
			}
		}
	}

	/** Adds a table's foreign keys, but for those that it has already after a break. */
	private static function foreign_keys( Db $db, array $table, array $names ): void {
		$definition = Import_Job::definition( $table['n'] );
		$shadow     = Import_Tables::shadow( $table['n'] );
		$wanted     = $definition->items( 'foreign_keys', 1000, array() );
		if ( ! $wanted ) {
			return;
		}
		foreach ( $db->all( 'SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = ' . Db::utf8( $shadow ) ) as $row ) {
			$db->run( 'ALTER TABLE ' . Db::name( $shadow ) . ' DROP FOREIGN KEY ' . Db::name( $row[0] ) );
		}
		$parts = array();
		foreach ( $wanted as $i => $key ) {
			if ( ! is_array( $key ) ) {
				throw Import_Definition::refused( "foreign_keys.$i" );
			}
			$parts[] = 'ADD ' . self::foreign_key( $db, new Json( $key ), $i, $table['name'], $shadow, $names );
		}
		$db->run( 'SET NAMES utf8mb4' );
		$db->run( 'ALTER TABLE ' . Db::name( $shadow ) . ' ' . implode( ', ', $parts ) );
		$db->run( 'SET NAMES binary' );
	}

	private static function foreign_key( Db $db, Json $key, int $i, string $table, string $shadow, array $names ): string {
		$columns = self::columns( $key, 'columns', $i );
		$there   = self::columns( $key, 'references', $i );
		$refers  = $key->any( 'table' );
		$name    = $key->any( 'name' );
		foreach ( array( $refers, $name ) as $text ) {
			if ( ! is_string( $text ) || ! Import_Definition::is_name( $text ) ) {
				throw Import_Definition::refused( "foreign_keys.$i" );
			}
		}
		global $wpdb;
		// A table of somebody else's would be bound by ours.
		if ( ! isset( $names[ $refers ] ) && ! Tables::begins( $refers, $wpdb->base_prefix ) && ! in_array( $refers, array( $wpdb->users, $wpdb->usermeta ), true ) ) {
			throw Import_Definition::refused( "foreign_keys.$i.table" );
		}
		$rules = '';
		foreach ( array( 'on_delete' => 'ON DELETE', 'on_update' => 'ON UPDATE' ) as $member => $words ) {
			$rule = $key->any( $member ) ?? 'RESTRICT';
			if ( ! in_array( $rule, self::RULES, true ) ) {
				throw Import_Definition::refused( "foreign_keys.$i.$member" );
			}
			$rules .= " $words $rule";
		}
		return 'CONSTRAINT ' . Db::name( self::name( $db, $name, $i, $table, $shadow ) ) . " FOREIGN KEY ($columns) REFERENCES " . Db::name( $names[ $refers ] ?? $refers ) . " ($there)$rules";
	}

	/**
	 * Names of foreign keys are known once in a schema. Those that a server made from the table's name follow it when
	 * it is renamed; another one that is taken (by the table that will be replaced) becomes such a name.
	 */
	private static function name( Db $db, string $name, int $i, string $table, string $shadow ): string {
		if ( 1 === preg_match( '/\A' . preg_quote( $table, '/' ) . '_ibfk_(\d{1,9})\z/', $name, $number ) ) {
			return "{$shadow}_ibfk_{$number[1]}";
		}
		$taken = $db->value( 'SELECT 1 FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = ' . Db::utf8( $name ) );
		return null === $taken ? $name : "{$shadow}_ibfk_" . ( 1000 + $i );
	}

	private static function columns( Json $key, string $member, int $i ): string {
		$names = array();
		foreach ( $key->items( $member, 64 ) as $name ) {
			if ( ! is_string( $name ) || ! Import_Definition::is_name( $name ) ) {
				throw Import_Definition::refused( "foreign_keys.$i.$member" );
			}
			$names[] = Db::name( $name );
		}
		return implode( ', ', $names );
	}
}
