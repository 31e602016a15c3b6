<?php
/**
 * MariaDB's sequences: created under a staging name like tables. A column that one of them numbers gets this default with
 * the swap, because a default names its sequence and does not follow a rename.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Sequences {
	/** Since when MariaDB has sequences. */
	const SINCE = '10.3.1';

	/** The options of a sequence => their words. All are whole numbers. */
	const OPTIONS = array(
		'start'     => 'START WITH',
		'min'       => 'MINVALUE',
		'max'       => 'MAXVALUE',
		'increment' => 'INCREMENT BY',
		'cache'     => 'CACHE',
	);

	/** Whether the server has sequences. */
	public static function are_supported( Database $db ): bool {
		return $db->is_at_least( null, self::SINCE );
	}

	/** The statement that creates a sequence under another name. */
	public static function create_sql( Database $db, Json_Object $definition, string $as ): string {
		if ( ! self::are_supported( $db ) ) {
			throw Table_Builder::rejected( 'kind' );
		}
		$sql = 'CREATE SEQUENCE ' . Database::identifier( $as );
		foreach ( self::OPTIONS as $field => $words ) {
			$sql .= " $words " . self::number( $definition, $field );
		}
		return $sql . ( true === $definition->get( 'cycle' ) ? ' CYCLE' : ' NOCYCLE' );
	}

	/** Creates a sequence that continues with the number of its definition; drops the one that there was. */
	public static function create( Database $db, Json_Object $definition, string $as, string $sql ): void {
		$next  = self::number( $definition, 'next' );
		$round = self::number( $definition, 'round' );
		$db->execute( 'DROP SEQUENCE IF EXISTS ' . Database::identifier( $as ) );
		$db->execute( $sql );
		$db->fetch_value( 'SELECT SETVAL(' . Database::identifier( $as ) . ", $next, 0, $round)" );
	}

	/** Sets the defaults that name sequences; returns those that the database rejected, as Views_And_Triggers does. */
	public static function set_defaults(): array {
		$db       = Database::shared();
		$rejected = array();
		if ( ! self::are_supported( $db ) ) {
			return $rejected;
		}
		// Tables without such a default are not parsed.
		foreach ( Import_Job::table_rows( "kind = 'table' AND LOCATE('\"sequence\":', definition) > 0" ) as $table ) {
			foreach ( Import_Job::definition( $table['id'] )->get_list( 'columns', Table_Builder::MAX_COLUMNS ) as $column ) {
				$sequence = $column['default']['sequence'] ?? null;
				if ( ! is_string( $sequence ) || ! Table_Builder::is_name( $sequence ) ) {
					continue;
				}
				$sql = 'ALTER TABLE ' . Database::identifier( $table['name'] ) . ' ALTER COLUMN ' . Database::identifier( $column['name'] ) . ' SET DEFAULT (NEXT VALUE FOR ' . Database::identifier( $sequence ) . ')';
				if ( ! $db->try_execute( $sql ) ) {
					$rejected[] = Views_And_Triggers::rejected( $db, 'default', "{$table['name']}.{$column['name']}" );
				}
			}
		}
		return $rejected;
	}

	private static function number( Json_Object $definition, string $field ): string {
		$number = $definition->get( $field );
		if ( ! is_string( $number ) || 1 !== preg_match( '/\A-?[0-9]{1,20}\z/', $number ) ) {
			throw Table_Builder::rejected( $field );
		}
		return $number;
	}
}
