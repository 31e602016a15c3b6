<?php
/**
 * The route `prepare`: adds foreign keys and keeps the plugin active, so that only the swap is left.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Preparation {
	const RULES = array( 'RESTRICT', 'CASCADE', 'SET NULL', 'NO ACTION', 'SET DEFAULT' );

	/** Returns whether it is done. */
	public static function run( Import_Job $job, Request_Budget $budget ): array {
		global $wpdb;
		$tables  = Import_Job::table_rows( "kind = 'table'" );
		$missing = array();
		foreach ( $tables as $table ) {
			if ( '1' !== $table['created'] || '1' !== $table['complete'] || '1' === $table['loading'] ) {
				$missing[] = $table['id'];
			}
		}
		if ( $missing ) {
			throw new Migrator_Error( 'incomplete', array( 'tables' => $missing ) );
		}
		$db    = Database::shared();
		$names = array();
		foreach ( $tables as $table ) {
			$names[ $table['name'] ] = Staged_Tables::staged_name( $table['id'] );
		}
		self::check_other_tables( $db, $names );
		$db->execute( 'SET SESSION foreign_key_checks = 0' );
		// MySQL since 8.4 requires a unique key at the referenced columns by default; other servers do not know the variable.
		$db->try_execute( 'SET SESSION restrict_fk_on_non_standard_key = 0' );
		foreach ( $tables as $table ) {
			if ( '0' !== $table['prepared'] ) {
				continue;
			}
			if ( $budget->deadline_passed() ) {
				return array( 'done' => false );
			}
			$rejected = self::foreign_keys( $db, $table, $names );
			if ( $rejected ) {
				$job->settings['rejected_foreign_keys'] = array_merge( $job->settings['rejected_foreign_keys'] ?? array(), $rejected );
				$job->save_phase( $job->phase() );
			}
			$db->execute( 'UPDATE ' . Import_Job::table_identifier( 'tables' ) . " SET prepared = 1 WHERE id = {$table['id']}" );
		}
		if ( isset( $names[ $wpdb->options ] ) ) {
			Plugin_Activation::activate( $db, $names[ $wpdb->options ] );
		}
		if ( 'open' === $job->phase() ) {
			$job->save_phase( 'prepared' );
		}
		return array( 'done' => true );
	}

	/** A table that is not imported but references one that is replaced would keep referencing the previous one. */
	private static function check_other_tables( Database $db, array $names ): void {
		$sql = 'SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL';
		foreach ( $db->fetch_all( $sql ) as $row ) {
			if ( isset( $names[ $row[1] ] ) && ! isset( $names[ $row[0] ] ) && ! Site_Tables::starts_with( $row[0], Import_Job::prefixed( '' ) ) ) {
				throw new Migrator_Error( 'rejected', array( 'field' => 'tables', 'table' => $row[0] ) );
			}
		}
	}

	/**
	 * Adds a table's foreign keys; drops those that an interrupted request has added. Returns those that the database rejects,
	 * by name, as Views_And_Triggers does.
	 */
	private static function foreign_keys( Database $db, array $table, array $names ): array {
		$definition = Import_Job::definition( $table['id'] );
		$staged     = Staged_Tables::staged_name( $table['id'] );
		$keys       = $definition->get_list( 'foreign_keys', 1000, array() );
		if ( ! $keys ) {
			return array();
		}
		foreach ( $db->fetch_all( 'SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = ' . Database::utf8_literal( $staged ) ) as $row ) {
			$db->execute( 'ALTER TABLE ' . Database::identifier( $staged ) . ' DROP FOREIGN KEY ' . Database::identifier( $row[0] ) );
		}
		$parts = array();
		foreach ( $keys as $i => $key ) {
			if ( ! is_array( $key ) ) {
				throw Table_Builder::rejected( "foreign_keys.$i" );
			}
			$parts[] = 'ADD ' . self::foreign_key( $db, new Json_Object( $key ), $i, $table['name'], $staged, $names );
		}
		$rejected = array();
		$alter    = 'ALTER TABLE ' . Database::identifier( $staged ) . ' ';
		$db->execute( 'SET NAMES utf8mb4' );
		// MariaDB changes a versioned table only if it may keep the former rows as they are.
		$db->try_execute( 'SET SESSION system_versioning_alter_history = KEEP' );
		if ( ! $db->try_execute( $alter . implode( ', ', $parts ) ) ) {
			foreach ( $parts as $i => $part ) {
				if ( $db->try_execute( $alter . $part ) ) {
					continue;
				}
				if ( 'database_error' !== $db->last_error()->error_code ) {
					throw $db->last_error();
				}
				$name              = "{$table['name']}.{$keys[ $i ]['name']}";
				$rejected[ $name ] = Views_And_Triggers::rejected( $db, 'foreign_key', $name );
			}
		}
		$db->execute( 'SET NAMES binary' );
		return $rejected;
	}

	private static function foreign_key( Database $db, Json_Object $key, int $i, string $table, string $staged, array $names ): string {
		$columns            = self::column_list( $key, 'columns', $i );
		$referenced_columns = self::column_list( $key, 'references', $i );
		$referenced_table   = $key->get( 'table' );
		$name               = $key->get( 'name' );
		foreach ( array( $referenced_table, $name ) as $text ) {
			if ( ! is_string( $text ) || ! Table_Builder::is_name( $text ) ) {
				throw Table_Builder::rejected( "foreign_keys.$i" );
			}
		}
		global $wpdb;
		// A foreign key to another application's table would restrict that application.
		if ( ! isset( $names[ $referenced_table ] ) && ! Site_Tables::starts_with( $referenced_table, $wpdb->base_prefix ) && ! in_array( $referenced_table, array( $wpdb->users, $wpdb->usermeta ), true ) ) {
			throw Table_Builder::rejected( "foreign_keys.$i.table" );
		}
		$rules = '';
		foreach ( array( 'on_delete' => 'ON DELETE', 'on_update' => 'ON UPDATE' ) as $field => $words ) {
			$rule = $key->get( $field ) ?? 'RESTRICT';
			if ( ! in_array( $rule, self::RULES, true ) ) {
				throw Table_Builder::rejected( "foreign_keys.$i.$field" );
			}
			$rules .= " $words $rule";
		}
		return 'CONSTRAINT ' . Database::identifier( self::constraint_name( $db, $name, $i, $table, $staged ) ) . " FOREIGN KEY ($columns) REFERENCES " . Database::identifier( $names[ $referenced_table ] ?? $referenced_table ) . " ($referenced_columns)$rules";
	}

	/**
	 * Names of foreign keys are unique in a schema. Generated ones contain the table's name and follow it on a rename; a name
	 * that is taken (by the table that will be replaced) is replaced by such a generated one.
	 */
	private static function constraint_name( Database $db, string $name, int $i, string $table, string $staged ): string {
		if ( 1 === preg_match( '/\A' . preg_quote( $table, '/' ) . '_ibfk_(\d{1,9})\z/', $name, $number ) ) {
			return "{$staged}_ibfk_{$number[1]}";
		}
		$taken = $db->fetch_value( 'SELECT 1 FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND CONSTRAINT_NAME = ' . Database::utf8_literal( $name ) );
		return null === $taken ? $name : "{$staged}_ibfk_" . ( 1000 + $i );
	}

	private static function column_list( Json_Object $key, string $field, int $i ): string {
		$names = array();
		foreach ( $key->get_list( $field, 64 ) as $name ) {
			if ( ! is_string( $name ) || ! Table_Builder::is_name( $name ) ) {
				throw Table_Builder::rejected( "foreign_keys.$i.$field" );
			}
			$names[] = Database::identifier( $name );
		}
		return implode( ', ', $names );
	}
}

/** Keeps this plugin active across an import. */
final class Plugin_Activation {
	/** Activates this plugin in an options table. */
	public static function activate( Database $db, string $table ): void {
		$plugin = plugin_basename( PLUGIN_FILE );
		$value  = $db->fetch_value( 'SELECT option_value FROM ' . Database::identifier( $table ) . " WHERE option_name = 'active_plugins'" );
		$new    = self::with_plugin( (string) $value, $plugin );
		if ( null === $value ) {
			$db->execute( 'INSERT INTO ' . Database::identifier( $table ) . " (option_name, option_value, autoload) VALUES ('active_plugins', " . $db->quote( $new ) . ", 'yes')" );
		} elseif ( $new !== $value ) {
			$db->execute( 'UPDATE ' . Database::identifier( $table ) . ' SET option_value = ' . $db->quote( $new ) . " WHERE option_name = 'active_plugins'" );
		}
	}

	/** A serialized list of plugins with one added. A value that is not such a list counts as an empty one. */
	public static function with_plugin( string $list, string $plugin ): string {
		$plugins = self::plugins_in( $list );
		if ( ! in_array( $plugin, $plugins, true ) ) {
			$plugins[] = $plugin;
		} elseif ( null !== self::first_element_offset( $list ) ) {
			return $list;
		}
		return serialize( array_values( $plugins ) );
	}

	/** The strings of a serialized array of strings, parsed without unserialize(). */
	private static function plugins_in( string $list ): array {
		$at      = self::first_element_offset( $list );
		$plugins = array();
		$size    = strlen( $list );
		while ( null !== $at && $at < $size && 1 === preg_match( '/\Gi:\d{1,9};s:(\d{1,5}):"/', $list, $found, 0, $at ) ) {
			$from      = $at + strlen( $found[0] );
			$plugins[] = substr( $list, $from, (int) $found[1] );
			$at        = $from + (int) $found[1] + 2;
		}
		return $plugins;
	}

	/** The offset of the first element of a serialized array. */
	private static function first_element_offset( string $list ): ?int {
		return 1 === preg_match( '/\Aa:\d{1,5}:\{/', $list, $found ) ? strlen( $found[0] ) : null;
	}
}
