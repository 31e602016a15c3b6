<?php
/**
 * Folders of ours in which files wait: new ones until they are swapped, old ones until they are forgotten.
 *
 * Renaming is all or nothing only within a file system, so each root has its folder on its own: above the web's
 * folders where we may write there, else in the content folder, else in the root itself. Its name cannot be guessed,
 * and it is closed (mode 0) while no request is at work.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Staging {
	/** What the names of these folders begin with; 32 hex digits follow, and Roots leaves them out. */
	const NAME = 'wpclone-';

	/** For web servers that look at it. */
	const DENY = "Require all denied\n";

	/** @var Import_Job */
	private $job;

	/** @var array<string, resource> Folder => its lock, while this request holds it open. */
	private $open = array();

	public function __construct( Import_Job $job ) {
		$this->job = $job;
		register_shutdown_function( array( $this, 'close' ) );
	}

	/** Chooses the folders and makes them; what is there stays. */
	public function make(): void {
		self::make_roots( $this->job->settings['roots'] );
		foreach ( $this->job->settings['roots'] as $root ) {
			if ( isset( $this->job->settings['places'][ $root ] ) ) {
				continue;
			}
			$folder = Roots::all()[ $root ];
			if ( null === $folder || ! is_writable( $folder ) ) {
				throw new Trouble( 'refused', array( 'member' => "roots.$root" ) );
			}
			$this->job->settings['places'][ $root ] = $this->place_for( $root, $folder );
		}
		// Known before they are made, so that whatever is made can be found.
		$this->job->note( $this->job->phase() );
		foreach ( $this->places() as $place ) {
			if ( ! is_dir( $place ) && ! @mkdir( $place, 0700 ) ) {
				throw self::trouble();
			}
		}
		$this->open();
		foreach ( $this->job->settings['places'] as $root => $place ) {
			if ( ! is_file( "$place/.htaccess" ) && false === @file_put_contents( "$place/.htaccess", self::DENY ) ) {
				throw self::trouble();
			}
			foreach ( array( "$place/new", "$place/old", "$place/new/$root", "$place/old/$root" ) as $folder ) {
				if ( ! is_dir( $folder ) && ! @mkdir( $folder, 0755 ) ) {
					throw self::trouble();
				}
			}
		}
	}

	/** Must-use plugins and uploads have no folder in a WordPress that has none of them. */
	private static function make_roots( array $roots ): void {
		$paths = array(
			'mu-plugins' => WPMU_PLUGIN_DIR,
			'uploads'    => wp_upload_dir( null, false )['basedir'],
		);
		foreach ( array_intersect_key( $paths, array_flip( $roots ) ) as $path ) {
			// A failure is told with the root's name, by whoever finds it missing.
			if ( ! is_dir( $path ) ) {
				@mkdir( $path, 0755, true );
			}
		}
	}

	/** Why a file or folder could not be made or written. */
	public static function trouble(): Trouble {
		$why = (string) ( error_get_last()['message'] ?? '' );
		return new Trouble( 1 === preg_match( '/no space left|quota exceeded/i', $why ) ? 'no_space' : 'failed' );
	}

	private function place_for( string $root, string $folder ): string {
		$device = @stat( $folder )['dev'] ?? null;
		foreach ( array( self::above_the_web(), Roots::all()['content'], $folder ) as $parent ) {
			if ( null === $parent || ! @is_dir( $parent ) || ! @is_writable( $parent ) || $device !== ( @stat( $parent )['dev'] ?? false ) ) {
				continue;
			}
			foreach ( $this->places() as $place ) {
				if ( dirname( $place ) === $parent ) {
					return $place;
				}
			}
			return $parent . '/' . self::NAME . bin2hex( random_bytes( 16 ) );
		}
		throw new Trouble( 'refused', array( 'member' => "roots.$root" ) );
	}

	/** The folder above the outermost one that the web server is known to show. */
	private static function above_the_web(): ?string {
		$site = (string) realpath( ABSPATH );
		$web  = isset( $_SERVER['DOCUMENT_ROOT'] ) && is_string( $_SERVER['DOCUMENT_ROOT'] ) && '' !== $_SERVER['DOCUMENT_ROOT'] ? (string) @realpath( $_SERVER['DOCUMENT_ROOT'] ) : '';
		$top  = '' !== $web && Tables::begins( "$site/", rtrim( $web, '/' ) . '/' ) ? $web : $site;
		return '/' === $top || '' === $top || '/' === dirname( $top ) ? null : dirname( $top );
	}

	/** @return string[] All folders of the job. */
	public function places(): array {
		return array_values( array_unique( $this->job->settings['places'] ) );
	}

	/** Where new files of a root wait. */
	public function fresh( string $root ): string {
		return $this->place( $root ) . "/new/$root";
	}

	/** Where old files of a root are kept. */
	public function old( string $root ): string {
		return $this->place( $root ) . "/old/$root";
	}

	private function place( string $root ): string {
		if ( ! isset( $this->job->settings['places'][ $root ] ) ) {
			throw Trouble::bad( 'root' );
		}
		return $this->job->settings['places'][ $root ];
	}

	/** Opens the folders for this request. Whoever closes them last holds the lock alone, and so knows it. */
	public function open(): void {
		foreach ( $this->places() as $place ) {
			for ( $try = 0; ! isset( $this->open[ $place ] ); $try++ ) {
				@chmod( $place, 0700 );
				$lock = @fopen( "$place/lock", 'c' );
				if ( is_resource( $lock ) && flock( $lock, LOCK_SH ) ) {
					@chmod( $place, 0700 );
					$this->open[ $place ] = $lock;
				} elseif ( $try > 20 || ! is_dir( $place ) ) {
					throw new Trouble( 'failed' );
				}
			}
		}
	}

	/** Closes them, unless another request is at work. */
	public function close(): void {
		foreach ( $this->open as $place => $lock ) {
			if ( flock( $lock, LOCK_EX | LOCK_NB ) ) {
				@chmod( $place, 0 );
			}
			fclose( $lock );
		}
		$this->open = array();
	}

	/** Removes the folders and all in them, as far as the time allows; says whether they are gone. */
	public function remove( Budget $budget ): bool {
		foreach ( $this->places() as $place ) {
			if ( is_dir( $place ) ) {
				@chmod( $place, 0700 );
				if ( ! self::remove_folder( $place, $budget ) ) {
					return false;
				}
				unset( $this->open[ $place ] );
			}
		}
		return true;
	}

	/** Removes a folder and all in it; links are removed and not followed. */
	private static function remove_folder( string $folder, Budget $budget ): bool {
		$handle = @opendir( $folder );
		if ( false === $handle ) {
			// One that came closed.
			if ( ! @chmod( $folder, 0700 ) ) {
				throw new Trouble( 'failed' );
			}
			$handle = @opendir( $folder );
		}
		if ( false === $handle ) {
			throw new Trouble( 'failed' );
		}
		while ( true ) {
			$name = readdir( $handle );
			if ( false === $name ) {
				break;
			}
			if ( '.' === $name || '..' === $name ) {
				continue;
			}
			if ( $budget->late() ) {
				closedir( $handle );
				return false;
			}
			$path = "$folder/$name";
			if ( is_dir( $path ) && ! is_link( $path ) ) {
				if ( ! self::remove_folder( $path, $budget ) ) {
					closedir( $handle );
					return false;
				}
			} elseif ( ! @unlink( $path ) && ! ( @chmod( $folder, 0700 ) && @unlink( $path ) ) ) {
				closedir( $handle );
				throw new Trouble( 'failed' );
			}
		}
		closedir( $handle );
		if ( ! @rmdir( $folder ) ) {
			// A file that another request stored at this moment.
			return false;
		}
		return true;
	}
}
