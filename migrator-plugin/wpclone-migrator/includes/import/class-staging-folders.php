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

final class Staging_Folders {
	/** What the names of these folders begin with; 32 hex digits follow, and Roots leaves them out. */
	const NAME_PREFIX = 'wpclone-';

	/** For web servers that look at it. */
	const DENY = "Require all denied\n";

	/** @var Import_Job */
	private $job;

	/** @var array<string, resource> Folder => its lock, while this request holds it open. */
	private $locks = array();

	public function __construct( Import_Job $job ) {
		$this->job = $job;
		register_shutdown_function( array( $this, 'close' ) );
	}

	/** Chooses the folders and makes them; what is there stays. */
	public function create(): void {
		self::create_missing_roots( $this->job->settings['roots'] );
		foreach ( $this->job->settings['roots'] as $root ) {
			if ( isset( $this->job->settings['staging_paths'][ $root ] ) ) {
				continue;
			}
			$folder = Site_Roots::folders()[ $root ];
			if ( null === $folder || ! is_writable( $folder ) ) {
				throw new Migrator_Error( 'rejected', array( 'field' => "roots.$root" ) );
			}
			$this->job->settings['staging_paths'][ $root ] = $this->choose_path( $root, $folder );
		}
		// Known before they are made, so that whatever is made can be found.
		$this->job->save_phase( $this->job->phase() );
		foreach ( $this->paths() as $path ) {
			if ( ! is_dir( $path ) && ! @mkdir( $path, 0700 ) ) {
				throw self::io_error();
			}
		}
		$this->open();
		foreach ( $this->job->settings['staging_paths'] as $root => $path ) {
			if ( ! is_file( "$path/.htaccess" ) && false === @file_put_contents( "$path/.htaccess", self::DENY ) ) {
				throw self::io_error();
			}
			foreach ( array( "$path/new", "$path/old", "$path/new/$root", "$path/old/$root" ) as $folder ) {
				if ( ! is_dir( $folder ) && ! @mkdir( $folder, 0755 ) ) {
					throw self::io_error();
				}
			}
		}
	}

	/** Must-use plugins and uploads have no folder in a WordPress that has none of them. */
	private static function create_missing_roots( array $roots ): void {
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
	public static function io_error(): Migrator_Error {
		$why = (string) ( error_get_last()['message'] ?? '' );
		return new Migrator_Error( 1 === preg_match( '/no space left|quota exceeded/i', $why ) ? 'no_space' : 'failed' );
	}

	private function choose_path( string $root, string $folder ): string {
		$device = @stat( $folder )['dev'] ?? null;
		foreach ( array( self::above_web_root(), Site_Roots::folders()['content'], $folder ) as $parent ) {
			if ( null === $parent || ! @is_dir( $parent ) || ! @is_writable( $parent ) || $device !== ( @stat( $parent )['dev'] ?? false ) ) {
				continue;
			}
			foreach ( $this->paths() as $path ) {
				if ( dirname( $path ) === $parent ) {
					return $path;
				}
			}
			return $parent . '/' . self::NAME_PREFIX . bin2hex( random_bytes( 16 ) );
		}
		throw new Migrator_Error( 'rejected', array( 'field' => "roots.$root" ) );
	}

	/** The folder above the outermost one that the web server is known to show. */
	private static function above_web_root(): ?string {
		$site = (string) realpath( ABSPATH );
		$web  = isset( $_SERVER['DOCUMENT_ROOT'] ) && is_string( $_SERVER['DOCUMENT_ROOT'] ) && '' !== $_SERVER['DOCUMENT_ROOT'] ? (string) @realpath( $_SERVER['DOCUMENT_ROOT'] ) : '';
		$top  = '' !== $web && Site_Tables::starts_with( "$site/", rtrim( $web, '/' ) . '/' ) ? $web : $site;
		return '/' === $top || '' === $top || '/' === dirname( $top ) ? null : dirname( $top );
	}

	/** @return string[] All folders of the job. */
	public function paths(): array {
		return array_values( array_unique( $this->job->settings['staging_paths'] ) );
	}

	/** Where new files of a root wait. */
	public function new_files( string $root ): string {
		return $this->path( $root ) . "/new/$root";
	}

	/** Where old files of a root are kept. */
	public function previous_files( string $root ): string {
		return $this->path( $root ) . "/old/$root";
	}

	private function path( string $root ): string {
		if ( ! isset( $this->job->settings['staging_paths'][ $root ] ) ) {
			throw Migrator_Error::bad_request( 'root' );
		}
		return $this->job->settings['staging_paths'][ $root ];
	}

	/** Opens the folders for this request. Whoever closes them last holds the lock alone, and so knows it. */
	public function open(): void {
		foreach ( $this->paths() as $path ) {
			for ( $try = 0; ! isset( $this->locks[ $path ] ); $try++ ) {
				@chmod( $path, 0700 );
				$lock = @fopen( "$path/lock", 'c' );
				if ( is_resource( $lock ) && flock( $lock, LOCK_SH ) ) {
					@chmod( $path, 0700 );
					$this->locks[ $path ] = $lock;
				} elseif ( $try > 20 || ! is_dir( $path ) ) {
					throw new Migrator_Error( 'internal_error' );
				}
			}
		}
	}

	/** Closes them, unless another request is at work. */
	public function close(): void {
		foreach ( $this->locks as $path => $lock ) {
			if ( flock( $lock, LOCK_EX | LOCK_NB ) ) {
				@chmod( $path, 0 );
			}
			fclose( $lock );
		}
		$this->locks = array();
	}

	/** Removes the folders and all in them, as far as the time allows; says whether they are gone. */
	public function remove( Request_Budget $budget ): bool {
		foreach ( $this->paths() as $path ) {
			if ( is_dir( $path ) ) {
				@chmod( $path, 0700 );
				if ( ! self::remove_folder( $path, $budget ) ) {
					return false;
				}
				unset( $this->locks[ $path ] );
			}
		}
		return true;
	}

	/** Removes a folder and all in it; links are removed and not followed. */
	private static function remove_folder( string $folder, Request_Budget $budget ): bool {
		$handle = @opendir( $folder );
		if ( false === $handle ) {
			// One that came closed.
			if ( ! @chmod( $folder, 0700 ) ) {
				throw new Migrator_Error( 'internal_error' );
			}
			$handle = @opendir( $folder );
		}
		if ( false === $handle ) {
			throw new Migrator_Error( 'internal_error' );
		}
		while ( true ) {
			$name = readdir( $handle );
			if ( false === $name ) {
				break;
			}
			if ( '.' === $name || '..' === $name ) {
				continue;
			}
			if ( $budget->deadline_passed_sampled() ) {
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
				throw new Migrator_Error( 'internal_error' );
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
