<?php
/**
 * The journal of moved files. Every entry of a replaced root has a row: whether the site has it (`existed`), and whether the
 * import brings it (`incoming`). Together with where the entry is now this says what has been done, so that a process may be
 * killed at any step: the previous entry is moved away before the new one is moved in, and back only after it is moved out.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Move_Journal {
	/** How deep to descend into folders that contain another root. */
	const MAX_DEPTH = 8;

	/** Writes the journal before anything is moved. */
	public static function plan( Import_Job $job ): void {
		$db = Database::shared();
		$db->execute( 'START TRANSACTION' );
		$db->execute( 'DELETE FROM ' . Import_Job::table_identifier( 'moves' ) );
		$id = 0;
		foreach ( $job->settings['roots'] as $root ) {
			self::remove_empty_folders( $job->staging()->previous_files( $root ) );
			foreach ( self::entries( $job, $root, '', 0 ) as list( $path, $existed, $incoming ) ) {
				++$id;
				$db->execute( 'INSERT INTO ' . Import_Job::table_identifier( 'moves' ) . " VALUES ($id, " . $db->quote( $root ) . ', ' . $db->quote( $path ) . ', ' . (int) $existed . ', ' . (int) $incoming . ')' );
			}
		}
		$db->execute( 'COMMIT' );
	}

	/** Deletes folders that a rollback has emptied. */
	private static function remove_empty_folders( string $folder ): void {
		foreach ( self::names( $folder, '' ) as $name ) {
			if ( is_dir( "$folder/$name" ) && ! is_link( "$folder/$name" ) ) {
				self::remove_empty_folders( "$folder/$name" );
				@rmdir( "$folder/$name" );
			}
		}
	}

	/** @return \Generator<int, array{0: string, 1: bool, 2: bool}> */
	private static function entries( Import_Job $job, string $root, string $below, int $depth ): \Generator {
		$live  = Site_Roots::folder( $root );
		$fresh = $job->staging()->new_files( $root );
		foreach ( self::names( "$live/$below", "$fresh/$below" ) as $name ) {
			$path     = $below . $name;
			$existed  = self::exists( "$live/$path" );
			$incoming = self::exists( "$fresh/$path" );
			if ( $existed && self::is_preserved( $root, $live, $path, $incoming ) ) {
				continue;
			}
			if ( $existed && self::contains_other_root( $root, "$live/$path" ) ) {
				if ( $depth < self::MAX_DEPTH ) {
					yield from self::entries( $job, $root, "$path/", $depth + 1 );
				}
				continue;
			}
			yield array( $path, $existed, $incoming );
		}
	}

	/** The names in either folder. */
	private static function names( string $one, string $other ): array {
		$names = array();
		foreach ( array( $one, $other ) as $folder ) {
			foreach ( is_dir( $folder ) ? (array) @scandir( $folder ) : array() as $name ) {
				if ( is_string( $name ) && '.' !== $name && '..' !== $name ) {
					$names[ $name ] = true;
				}
			}
		}
		return array_map( 'strval', array_keys( $names ) );
	}

	/** Whether an entry of the site is not replaced. */
	private static function is_preserved( string $root, string $live, string $path, bool $incoming ): bool {
		$full    = "$live/$path";
		$real    = (string) realpath( $full );
		$is_link = is_link( $full );
		if ( Site_Roots::is_other_root( $real, $root ) || dirname( (string) realpath( PLUGIN_FILE ) ) === $real ) {
			return true;
		}
		if ( $incoming && Site_Roots::is_sandbox_plugin( $root, $path ) ) {
			return false;
		}
		// Links that are not exported stay, unless an entry of the same name is imported.
		if ( $is_link && ! $incoming ) {
			return is_dir( $full ) || '' === $real || ! Site_Roots::is_exportable( $real );
		}
		return null !== Site_Roots::exclusion_reason( $root, explode( '/', $path ), is_dir( $full ) );
	}

	/** Whether a folder contains another root. */
	private static function contains_other_root( string $root, string $full ): bool {
		$real = is_link( $full ) || ! is_dir( $full ) ? '' : (string) realpath( $full );
		foreach ( '' === $real ? array() : Site_Roots::folders() as $name => $folder ) {
			if ( $name !== $root && null !== $folder && Site_Tables::starts_with( $folder, "$real/" ) ) {
				return true;
			}
		}
		return false;
	}

	/** Moves what has not been moved yet; returns whether it is done. */
	public static function forward( Import_Job $job, Request_Budget $budget ): bool {
		foreach ( self::journal_rows( 'existed < 2 ORDER BY id' ) as list( $id, $root, $path, $existed, $incoming ) ) {
			if ( $budget->deadline_passed() ) {
				return false;
			}
			list( $live, $new, $old ) = self::paths( $job, $root, $path );
			if ( ! $existed && $incoming && self::exists( $new ) && self::exists( $live ) ) {
				// It was created after the journal was written.
				self::set_existed( $id, 1 );
				$existed = 1;
			}
			if ( $existed && ! self::exists( $old ) && ! self::exists( $live ) ) {
				// It was deleted after the journal was written.
				self::set_existed( $id, 0 );
			} elseif ( $existed && ! self::exists( $old ) && ! self::move( $live, $old, true ) ) {
				self::split( $id, $root, $path, $live, $new );
				return self::forward( $job, $budget );
			}
			if ( $incoming && self::exists( $new ) && ! self::move( $new, $live, false ) ) {
				throw new Migrator_Error( 'internal_error' );
			}
		}
		foreach ( self::journal_rows( 'existed = 2 AND incoming = 0 ORDER BY id DESC' ) as list( , $root, $path ) ) {
			@rmdir( Site_Roots::folder( $root ) . "/$path" );
		}
		return true;
	}

	/** Moves back what was moved; returns whether it is done. */
	public static function rollback( Import_Job $job, Request_Budget $budget ): bool {
		foreach ( self::journal_rows( 'existed = 2 ORDER BY id' ) as list( , $root, $path ) ) {
			list( $live, , $old ) = self::paths( $job, $root, $path );
			if ( ! self::exists( $live ) && @mkdir( $live, 0755, true ) && is_dir( $old ) ) {
				@chmod( $live, fileperms( $old ) & 0777 );
			}
		}
		foreach ( self::journal_rows( 'existed < 2 ORDER BY id DESC' ) as list( , $root, $path, $existed, $incoming ) ) {
			if ( $budget->deadline_passed() ) {
				return false;
			}
			list( $live, $new, $old ) = self::paths( $job, $root, $path );
			if ( ( $incoming && ! self::exists( $new ) && self::exists( $live ) && ! self::move( $live, $new, true ) )
				|| ( $existed && self::exists( $old ) && ! self::move( $old, $live, false ) ) ) {
				throw new Migrator_Error( 'internal_error' );
			}
		}
		return true;
	}

	/**
	 * Records that a folder cannot be renamed (`existed`: 2), so that its contents are moved instead. Folders that are part of
	 * a container image are like that.
	 */
	private static function split( int $id, string $root, string $path, string $live, string $new ): void {
		if ( is_link( $live ) || ! is_dir( $live ) || substr_count( $path, '/' ) > Site_Roots::MAX_DEPTH ) {
			throw new Migrator_Error( 'internal_error' );
		}
		$db = Database::shared();
		$db->execute( 'START TRANSACTION' );
		$next = (int) $db->fetch_value( 'SELECT MAX(id) FROM ' . Import_Job::table_identifier( 'moves' ) );
		foreach ( self::names( $live, $new ) as $name ) {
			++$next;
			$db->execute( 'INSERT INTO ' . Import_Job::table_identifier( 'moves' ) . " VALUES ($next, " . $db->quote( $root ) . ', ' . $db->quote( "$path/$name" ) . ', ' . (int) self::exists( "$live/$name" ) . ', ' . (int) self::exists( "$new/$name" ) . ')' );
		}
		self::set_existed( $id, 2 );
		$db->execute( 'COMMIT' );
	}

	/** @return \Generator<int, array{0: int, 1: string, 2: string, 3: int, 4: bool}> */
	private static function journal_rows( string $where ): \Generator {
		// Not streamed: other statements run in between.
		foreach ( Database::shared()->fetch_all( 'SELECT id, root, path, existed, incoming FROM ' . Import_Job::table_identifier( 'moves' ) . " WHERE $where" ) as $row ) {
			yield array( (int) $row[0], $row[1], $row[2], (int) $row[3], '1' === $row[4] );
		}
	}

	private static function set_existed( int $id, int $existed ): void {
		Database::shared()->execute( 'UPDATE ' . Import_Job::table_identifier( 'moves' ) . " SET existed = $existed WHERE id = $id" );
	}

	/** @return string[] */
	private static function paths( Import_Job $job, string $root, string $path ): array {
		return array( Site_Roots::folder( $root ) . "/$path", $job->staging()->new_files( $root ) . "/$path", $job->staging()->previous_files( $root ) . "/$path" );
	}

	/** Renames a file or folder; false if that fails. */
	private static function move( string $from, string $to, bool $make ): bool {
		if ( $make && ! is_dir( dirname( $to ) ) ) {
			@mkdir( dirname( $to ), 0755, true );
		}
		clearstatcache();
		// Must not overwrite anything; only a concurrent change could make that happen.
		$moved = ! self::exists( $to ) && @rename( $from, $to );
		clearstatcache();
		return $moved;
	}

	/** Whether there is an entry of any kind, even a broken link. */
	private static function exists( string $path ): bool {
		return file_exists( $path ) || is_link( $path );
	}
}
