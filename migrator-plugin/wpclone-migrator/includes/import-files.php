<?php
/**
 * Files that come in, into folders of ours. Every path is looked at name by name before anything is made.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Import_Files {
	const FOLDER = 1;
	const LAST   = 2;
	/** What came of the file before is to go: the source has no more of it. */
	const GONE   = 4;

	/** Bytes before the path in a frame F. */
	const HEAD = 28;

	/** More refusals than these end the request. */
	const MOST_REFUSED = 1000;

	/** Ends of names that web servers may be set up to take for programs, wherever they stand in a name. */
	const PROGRAMS = '/\.(?:php\d*|phtml?|pht|phps|phar|hphp|cgi|fcgi|pl|py|rb|sh|aspx?|asa|ashx|asmx|cfm|cfc|jspx?|jspf|shtml?)(?:\.|\z)/i';

	/** Names that change what a web server takes for programs. */
	const SWITCHES = array( '.htaccess', '.user.ini', 'php.ini', 'web.config' );

	/** @var Import_Job */
	private $job;

	/** @var resource|null The file that is written to. */
	private $handle = null;

	/** @var array What F said of it. */
	private $file;

	/** @var bool Whether it was refused, so that its bytes are passed over. */
	private $passed = false;

	/** @var int Where the next byte goes. */
	private $at = 0;

	/** @var int Parts that were stored. */
	private $stored = 0;

	/** @var array[] */
	private $refused = array();

	/** @var array<string, bool> The last folder that was looked at. */
	private $known = array();

	private function __construct( Import_Job $job ) {
		$this->job = $job;
	}

	/** The route `store`. */
	public static function take( Import_Job $job, \Generator $frames ): array {
		$self = new self( $job );
		$job->staging()->open();
		$any = false;
		for ( ; $frames->valid(); $frames->next() ) {
			$kind    = $frames->key();
			$payload = $frames->current();
			if ( 'F' === $kind ) {
				$self->finish();
				$self->begin( $payload );
			} elseif ( 'D' === $kind && $any ) {
				$self->bytes( $payload );
			} else {
				throw Trouble::bad( 'frames' );
			}
			$any = true;
		}
		$self->finish();
		return array(
			'stored'  => $self->stored,
			'refused' => $self->refused,
		);
	}

	private function begin( string $payload ): void {
		if ( strlen( $payload ) <= self::HEAD ) {
			throw Trouble::bad( 'frames' );
		}
		$file         = unpack( 'Croot/Cflags/nmode/Jsize/Jmtime/Joffset', $payload );
		$file['path'] = substr( $payload, self::HEAD );
		$file['root'] = Roots::NAMES[ $file['root'] ] ?? '';
		$this->file   = $file;
		$this->at     = $file['offset'];
		$member       = $this->refusal( $file );
		$this->passed = null !== $member;
		if ( $this->passed ) {
			$this->refuse( $member );
			return;
		}
		$folder = $this->job->staging()->fresh( $file['root'] );
		$names  = explode( '/', $file['path'] );
		$last   = array_pop( $names );
		if ( ! $this->make_folders( $folder, $names ) || ! $this->make( $folder . '/' . implode( '/', array_merge( $names, array( $last ) ) ) ) ) {
			$this->passed = true;
			$this->refuse( 'path' );
		}
	}

	/** What is wrong with a file, before anything is made of it. */
	private function refusal( array $file ): ?string {
		if ( '' === $file['root'] || ! in_array( $file['root'], $this->job->settings['roots'], true ) ) {
			return 'root';
		}
		if ( $file['flags'] > self::GONE || $file['size'] < 0 || $file['offset'] < 0 || $file['mtime'] < 0 ) {
			return 'kind';
		}
		if ( Roots::is_harmless( $file['root'], $file['path'] ) && 0 === ( $file['flags'] & self::FOLDER ) && $this->job->allows( 'harmless' ) ) {
			return null;
		}
		return self::refused_path( $file['root'], $file['path'], 0 !== ( $file['flags'] & self::FOLDER ), $this->job->allows( 'php_in_uploads' ) );
	}

	/** What is wrong with a path below a root: a member for the answer, or null. */
	public static function refused_path( string $root, string $path, bool $is_folder, bool $php ): ?string {
		$names = Roots::names( $path );
		if ( null === $names || 1 === preg_match( '/[\x00-\x1f\x7f\\\\]/', $path ) || self::is_other_root( $root, $path ) ) {
			return 'path';
		}
		if ( ! Roots::names_travel( $root, $names, $is_folder ) ) {
			return 'path';
		}
		if ( 'uploads' === $root && ! $php && ! $is_folder && ( 1 === preg_match( self::PROGRAMS, end( $names ) ) || in_array( strtolower( end( $names ) ), self::SWITCHES, true ) ) ) {
			return 'php';
		}
		return null;
	}

	/** Whether a path leads into, or is, another root that lies within this one. */
	private static function is_other_root( string $root, string $path ): bool {
		$roots = Roots::all();
		$full  = "{$roots[ $root ]}/$path/";
		foreach ( $roots as $name => $folder ) {
			if ( $name !== $root && null !== $folder && Tables::begins( "$folder/", "{$roots[ $root ]}/" ) && $folder !== $roots[ $root ] && Tables::begins( $full, "$folder/" ) ) {
				return true;
			}
		}
		return false;
	}

	/** Makes the folders that a path leads through; false where something else is in the way. */
	private function make_folders( string $folder, array $names ): bool {
		$path = $folder . '/' . implode( '/', $names );
		if ( isset( $this->known[ $path ] ) ) {
			return true;
		}
		foreach ( $names as $name ) {
			$folder .= "/$name";
			if ( ! $this->folder( $folder ) ) {
				return false;
			}
		}
		$this->known = array( $path => true );
		return true;
	}

	/** Makes a folder where there is none. Another request may do the same. */
	private function folder( string $path ): bool {
		if ( @mkdir( $path, 0755 ) ) {
			return true;
		}
		clearstatcache( true, $path );
		if ( is_link( $path ) || ( file_exists( $path ) && ! is_dir( $path ) ) ) {
			return false;
		}
		if ( ! is_dir( $path ) ) {
			throw Import_Staging::trouble();
		}
		return true;
	}

	private function make( string $path ): bool {
		$this->file['full'] = $path;
		if ( 0 !== ( $this->file['flags'] & self::FOLDER ) ) {
			return $this->folder( $path );
		}
		clearstatcache( true, $path );
		if ( is_link( $path ) || is_dir( $path ) ) {
			return false;
		}
		if ( self::GONE === $this->file['flags'] ) {
			if ( is_file( $path ) && ! @unlink( $path ) ) {
				throw Import_Staging::trouble();
			}
			return true;
		}
		$handle = @fopen( $path, 'cb' );
		if ( false === $handle ) {
			throw Import_Staging::trouble();
		}
		$this->handle = $handle;
		$size         = fstat( $handle )['size'];
		if ( $size < $this->at ) {
			throw new Trouble( 'gap', array( 'size' => $size ) );
		}
		fseek( $handle, $this->at );
		return true;
	}

	private function bytes( string $bytes ): void {
		if ( $this->passed ) {
			return;
		}
		if ( null === $this->handle || $this->at + strlen( $bytes ) > $this->file['size'] ) {
			throw Trouble::bad( 'frames' );
		}
		if ( strlen( $bytes ) !== @fwrite( $this->handle, $bytes ) ) {
			throw Import_Staging::trouble();
		}
		$this->at += strlen( $bytes );
	}

	/** Ends the part: the last one of a file gives it its size, time and mode. */
	private function finish(): void {
		if ( null === $this->file || $this->passed ) {
			return;
		}
		$mode   = $this->file['mode'] & 0775;
		$handle = $this->handle;
		if ( self::GONE === $this->file['flags'] ) {
			$this->file = null;
		} elseif ( null === $handle ) {
			@chmod( $this->file['full'], $mode | 0700 );
		} else {
			$this->handle = null;
			$is_last      = 0 !== ( $this->file['flags'] & self::LAST );
			if ( ! fflush( $handle ) ) {
				throw Import_Staging::trouble();
			}
			$size = fstat( $handle )['size'];
			if ( $is_last && $size > $this->file['size'] ) {
				ftruncate( $handle, $this->file['size'] );
			}
			fclose( $handle );
			if ( $is_last && $size < $this->file['size'] ) {
				throw new Trouble( 'gap', array( 'size' => $size ) );
			}
			if ( $is_last ) {
				@chmod( $this->file['full'], $mode | 0600 );
				@touch( $this->file['full'], $this->file['mtime'] );
			}
		}
		++$this->stored;
	}

	private function refuse( string $member ): void {
		$this->refused[] = array(
			'root'   => $this->file['root'],
			'path'   => base64_encode( $this->file['path'] ),
			'member' => $member,
		);
		if ( count( $this->refused ) > self::MOST_REFUSED ) {
			throw Trouble::bad( 'frames' );
		}
	}
}
