<?php
/**
 * The staging folders of a job: new files until the swap, previous files until the commit.
 *
 * A rename is atomic only within one file system, so every root has a staging folder on its own: above the web root if that
 * is writable, else in the content folder, else in the root itself. Its name cannot be guessed, and its mode is 0 while no
 * request uses it.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Staging_Folders {
	/** The prefix of their names; 32 hex digits follow. Site_Roots excludes them. */
	const NAME_PREFIX = 'wpclone-';

	/** For web servers that read .htaccess. */
	const DENY = "Require all denied\n";

	/** @var Import_Job */
	private $job;

	/** @var array<string, Folder => the lock that this request holds. */
	private $locks = array();

	public function __construct( Import_Job $job ) {
		$this->job = $job;
		register_shutdown_function( array( $this, 'close' ) );
	}

	/** Chooses the folders and creates them. Existing ones stay as they are. */
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
		// Recorded before they are created, so that every created folder is known.
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

	/** A WordPress without must-use plugins or uploads does not have these folders. */
	private static function create_missing_roots( array $roots ): void {
		$paths = array(
			'mu-plugins' => WPMU_PLUGIN_DIR,
			'uploads'    => wp_upload_dir( null, false )['basedir'],
		);
		foreach ( array_intersect_key( $paths, array_flip( $roots ) ) as $path ) {
			// A failure is reported later, when the root is found missing.
			if ( ! is_dir( $path ) ) {
				@mkdir( $path, 0755, true );
			}
		}
	}

	/** The error for a folder or file that could not be created or written. */
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

	/** The parent of the outermost folder that the web server is known to serve. */
	private static function above_web_root(): ?string {
		$site = (string) realpath( ABSPATH );
		$web  = isset( $_SERVER['DOCUMENT_ROOT'] ) && is_string( $_SERVER['DOCUMENT_ROOT'] ) && '' !== $_SERVER['DOCUMENT_ROOT'] ? (string) @realpath( $_SERVER['DOCUMENT_ROOT'] ) : '';
		$top  = '' !== $web && Site_Tables::starts_with( "$site/", rtrim( $web, '/' ) . '/' ) ? $web : $site;
		return '/' === $top || '' === $top || '/' === dirname( $top ) ? null : dirname( $top );
	}

	/** All folders of the job. */
	public function paths(): array {
		return array_values( array_unique( $this->job->settings['staging_paths'] ) );
	}

	/** The folder with the new files of a root. */
	public function new_files( string $root ): string {
		return $this->path( $root ) . "/new/$root";
	}

	/** The folder with the previous files of a root. */
	public function previous_files( string $root ): string {
		return $this->path( $root ) . "/old/$root";
	}

	private function path( string $root ): string {
		if ( ! isset( $this->job->settings['staging_paths'][ $root ] ) ) {
			throw Migrator_Error::bad_request( 'root' );
		}
		return $this->job->settings['staging_paths'][ $root ];
	}

	/** Makes the folders accessible for this request. Each request holds a shared lock; the last one can get it exclusively. */
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

	/** Makes the folders inaccessible again, unless another request uses them. */
	public function close(): void {
		foreach ( $this->locks as $path => $lock ) {
			if ( flock( $lock, LOCK_EX | LOCK_NB ) ) {
				@chmod( $path, 0 );
			}
			fclose( $lock );
		}
		$this->locks = array();
	}

	/** Deletes the folders as far as the budget allows; returns whether they are gone. */
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

	/** Deletes a folder and everything in it. Links are deleted, not followed. */
	private static function remove_folder( string $folder, Request_Budget $budget ): bool {
		$handle = @opendir( $folder );
		if ( false === $handle ) {
			// The folder may be inaccessible: make it readable and try again.
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
			// Another request stored a file in the meantime.
			return false;
		}
		return true;
	}
}
