<?php
/**
 * The journal of the folders. Each entry of a root that is replaced has a row: whether the site had it, and whether it
 * gets one. With that, where the entry is now says what was done already, so that a kill between any two steps does no
 * harm: an old entry is moved away before a new one comes, and a new one is moved back before the old one comes.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Moves {
	/** Folders that hold what stays are gone into, at most so deep. */
	const MOST_DEPTH = 8;

	/** Writes the journal anew: nothing has been moved yet. */
	public static function plan( Import_Job $job ): void {
		$db = Db::get();
		$db->run( 'START TRANSACTION' );
		$db->run( 'DELETE FROM ' . Import_Job::name( 'moves' ) );
		$id = 0;
		foreach ( $job->settings['roots'] as $root ) {
			self::prune( $job->staging()->old( $root ) );
			foreach ( self::entries( $job, $root, '', 0 ) as list( $path, $had, $gets ) ) {
				++$id;
				$db->run( 'INSERT INTO ' . Import_Job::name( 'moves' ) . " VALUES ($id, " . $db->text( $root ) . ', ' . $db->text( $path ) . ', ' . (int) $had . ', ' . (int) $gets . ')' );
			}
		}
		$db->run( 'COMMIT' );
	}

	/** Removes folders that are empty since all that was in them went back. */
	private static function prune( string $folder ): void {
		foreach ( self::names( $folder, '' ) as $name ) {
			if ( is_dir( "$folder/$name" ) && ! is_link( "$folder/$name" ) ) {
				self::prune( "$folder/$name" );
				@rmdir( "$folder/$name" );
			}
		}
	}

	/** @return \Generator<int, array{0: string, 1: bool, 2: bool}> */
	private static function entries( Import_Job $job, string $root, string $below, int $depth ): \Generator {
		$live  = Roots::folder( $root );
		$fresh = $job->staging()->fresh( $root );
		foreach ( self::names( "$live/$below", "$fresh/$below" ) as $name ) {
			$path = $below . $name;
			$had  = self::is( "$live/$path" );
			$gets = self::is( "$fresh/$path" );
			if ( $had && self::stays( $root, $live, $path, $gets ) ) {
				continue;
			}
			if ( $had && self::holds_what_stays( $root, "$live/$path" ) ) {
				if ( $depth < self::MOST_DEPTH ) {
					yield from self::entries( $job, $root, "$path/", $depth + 1 );
				}
				continue;
			}
			yield array( $path, $had, $gets );
		}
	}

	/** @return string[] The names in either folder. */
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

	/** Whether an entry of the site is none of what is replaced. */
	private static function stays( string $root, string $live, string $path, bool $gets ): bool {
		$full    = "$live/$path";
		$real    = (string) realpath( $full );
		$is_link = is_link( $full );
		if ( Roots::is_root_but( $real, $root ) || dirname( (string) realpath( PLUGIN_FILE ) ) === $real ) {
			return true;
		}
		if ( $gets && Roots::is_harmless( $root, $path ) ) {
			return false;
		}
		// Links that do not travel stay, unless something of their name comes.
		if ( $is_link && ! $gets ) {
			return is_dir( $full ) || '' === $real || ! Roots::travels( $real );
		}
		return null !== Roots::reason( $root, explode( '/', $path ), is_dir( $full ) );
	}

	/** Whether another root lies somewhere in a folder. */
	private static function holds_what_stays( string $root, string $full ): bool {
		$real = is_link( $full ) || ! is_dir( $full ) ? '' : (string) realpath( $full );
		foreach ( '' === $real ? array() : Roots::all() as $name => $folder ) {
			if ( $name !== $root && null !== $folder && Tables::begins( $folder, "$real/" ) ) {
				return true;
			}
		}
		return false;
	}

	/** Moves what is not moved yet; says whether all is. */
	public static function forth( Import_Job $job, Budget $budget ): bool {
		foreach ( self::rows( 'had < 2 ORDER BY id' ) as list( $id, $root, $path, $had, $gets ) ) {
			if ( $budget->late_now() ) {
				return false;
			}
			list( $live, $new, $old ) = self::places( $job, $root, $path );
			if ( ! $had && $gets && self::is( $new ) && self::is( $live ) ) {
				// It came after the journal was written.
				self::note( $id, 1 );
				$had = 1;
			}
			if ( $had && ! self::is( $old ) && ! self::is( $live ) ) {
				// It went after the journal was written.
				self::note( $id, 0 );
			} elseif ( $had && ! self::is( $old ) && ! self::move( $live, $old, true ) ) {
				self::split( $id, $root, $path, $live, $new );
				return self::forth( $job, $budget );
			}
			if ( $gets && self::is( $new ) && ! self::move( $new, $live, false ) ) {
				throw new Trouble( 'failed' );
			}
		}
		foreach ( self::rows( 'had = 2 AND gets = 0 ORDER BY id DESC' ) as list( , $root, $path ) ) {
			@rmdir( Roots::folder( $root ) . "/$path" );
		}
		return true;
	}

	/** Moves back what was moved; says whether all is. */
	public static function back( Import_Job $job, Budget $budget ): bool {
		foreach ( self::rows( 'had = 2 ORDER BY id' ) as list( , $root, $path ) ) {
			list( $live, , $old ) = self::places( $job, $root, $path );
			if ( ! self::is( $live ) && @mkdir( $live, 0755, true ) && is_dir( $old ) ) {
				@chmod( $live, fileperms( $old ) & 0777 );
			}
		}
		foreach ( self::rows( 'had < 2 ORDER BY id DESC' ) as list( , $root, $path, $had, $gets ) ) {
			if ( $budget->late_now() ) {
				return false;
			}
			list( $live, $new, $old ) = self::places( $job, $root, $path );
			if ( ( $gets && ! self::is( $new ) && self::is( $live ) && ! self::move( $live, $new, true ) )
				|| ( $had && self::is( $old ) && ! self::move( $old, $live, false ) ) ) {
				throw new Trouble( 'failed' );
			}
		}
		return true;
	}

	/**
	 * A folder that cannot be renamed stays (had: 2), and what is in it is moved: so it is with folders that are part
	 * of a container's image.
	 */
	private static function split( int $id, string $root, string $path, string $live, string $new ): void {
		if ( is_link( $live ) || ! is_dir( $live ) || substr_count( $path, '/' ) > Roots::MOST_DEPTH ) {
			throw new Trouble( 'failed' );
		}
		$db = Db::get();
		$db->run( 'START TRANSACTION' );
		$next = (int) $db->value( 'SELECT MAX(id) FROM ' . Import_Job::name( 'moves' ) );
		foreach ( self::names( $live, $new ) as $name ) {
			++$next;
			$db->run( 'INSERT INTO ' . Import_Job::name( 'moves' ) . " VALUES ($next, " . $db->text( $root ) . ', ' . $db->text( "$path/$name" ) . ', ' . (int) self::is( "$live/$name" ) . ', ' . (int) self::is( "$new/$name" ) . ')' );
		}
		self::note( $id, 2 );
		$db->run( 'COMMIT' );
	}

	/** @return \Generator<int, array{0: int, 1: string, 2: string, 3: int, 4: bool}> */
	private static function rows( string $where ): \Generator {
		// Not one by one from the server: other statements come in between.
		foreach ( Db::get()->all( 'SELECT id, root, path, had, gets FROM ' . Import_Job::name( 'moves' ) . " WHERE $where" ) as $row ) {
			yield array( (int) $row[0], $row[1], $row[2], (int) $row[3], '1' === $row[4] );
		}
	}

	private static function note( int $id, int $had ): void {
		Db::get()->run( 'UPDATE ' . Import_Job::name( 'moves' ) . " SET had = $had WHERE id = $id" );
	}

	/** @return string[] */
	private static function places( Import_Job $job, string $root, string $path ): array {
		return array( Roots::folder( $root ) . "/$path", $job->staging()->fresh( $root ) . "/$path", $job->staging()->old( $root ) . "/$path" );
	}

	/** Renames; false where that cannot be. */
	private static function move( string $from, string $to, bool $make ): bool {
		if ( $make && ! is_dir( dirname( $to ) ) ) {
			@mkdir( dirname( $to ), 0755, true );
		}
		clearstatcache();
		// What is there must not be overwritten; it cannot be, but by somebody else at this moment.
		$moved = ! self::is( $to ) && @rename( $from, $to );
		clearstatcache();
		return $moved;
	}

	/** Whether there is anything, be it a link that leads nowhere. */
	private static function is( string $path ): bool {
		return file_exists( $path ) || is_link( $path );
	}
}
