<?php
/**
 * The route `store-files`: writes files into the staging folders. Every path is checked name by name first.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class File_Writer {
	const FLAG_FOLDER = 1;
	const FLAG_LAST   = 2;
	/** Deletes what was stored of the file: the source no longer has it. */
	const FLAG_DELETE = 4;

	/** The length of a frame F without the path. */
	const HEADER_BYTES = 28;

	/** More rejected files than this fail the request. */
	const MAX_REJECTED = 1000;

	/** File names that web servers may be configured to execute; the extension counts at any position in the name. */
	const EXECUTABLE_NAMES = '/\.(?:php\d*|phtml?|pht|phps|phar|hphp|cgi|fcgi|pl|py|rb|sh|aspx?|asa|ashx|asmx|cfm|cfc|jspx?|jspf|shtml?)(?:\.|\z)/i';

	/** File names that change which files a web server executes. */
	const SERVER_CONFIG_NAMES = array( '.htaccess', '.user.ini', 'php.ini', 'web.config' );

	/** @var Import_Job */
	private $job;

	/** @var resource|null The file that is being written. */
	private $handle = null;

	/** @var array The header of the current part. */
	private $file;

	/** @var bool Whether the current part is rejected and its bytes are skipped. */
	private $skipping = false;

	/** @var int The offset of the next byte. */
	private $offset = 0;

	/** @var int Parts stored so far. */
	private $stored = 0;

	/** @var array[] */
	private $rejected = array();

	/** @var array<string, The last folder that was created or checked. */
	private $last_folder = array();

	private function __construct( Import_Job $job ) {
		$this->job = $job;
	}

	/** Stores parts of files; returns how many, and the rejected ones. */
	public static function store( Import_Job $job, \Generator $frames ): array {
		$self = new self( $job );
		$job->staging()->open();
		$has_part = false;
		for ( ; $frames->valid(); $frames->next() ) {
			$kind    = $frames->key();
			$payload = $frames->current();
			if ( 'F' === $kind ) {
				$self->finish_part();
				$self->begin_part( $payload );
			} elseif ( 'D' === $kind && $has_part ) {
				$self->write_bytes( $payload );
			} else {
				throw Migrator_Error::bad_request( 'frames' );
			}
			$has_part = true;
		}
		$self->finish_part();
		return array(
			'stored'   => $self->stored,
			'rejected' => $self->rejected,
		);
	}

	private function begin_part( string $payload ): void {
		if ( strlen( $payload ) <= self::HEADER_BYTES ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		$file           = unpack( 'Croot/Cflags/nmode/Jsize/Jmtime/Joffset', $payload );
		$file['path']   = substr( $payload, self::HEADER_BYTES );
		$file['root']   = Site_Roots::NAMES[ $file['root'] ] ?? '';
		$this->file     = $file;
		$this->offset   = $file['offset'];
		$field          = $this->rejection( $file );
		$this->skipping = null !== $field;
		if ( $this->skipping ) {
			$this->reject( $field );
			return;
		}
		$folder = $this->job->staging()->new_files( $file['root'] );
		$names  = explode( '/', $file['path'] );
		$last   = array_pop( $names );
		if ( ! $this->make_folders( $folder, $names ) || ! $this->open_target( $folder . '/' . implode( '/', array_merge( $names, array( $last ) ) ) ) ) {
			$this->skipping = true;
			$this->reject( 'path' );
		}
	}

	/** Which field of a part is not acceptable, or null. */
	private function rejection( array $file ): ?string {
		if ( '' === $file['root'] || ! in_array( $file['root'], $this->job->settings['roots'], true ) ) {
			return 'root';
		}
		if ( $file['flags'] > self::FLAG_DELETE || $file['size'] < 0 || $file['offset'] < 0 || $file['mtime'] < 0 ) {
			return 'kind';
		}
		if ( Site_Roots::is_sandbox_plugin( $file['root'], $file['path'] ) && 0 === ( $file['flags'] & self::FLAG_FOLDER ) && $this->job->allows( 'sandbox_plugin' ) ) {
			return null;
		}
		return self::rejected_path( $file['root'], $file['path'], 0 !== ( $file['flags'] & self::FLAG_FOLDER ), $this->job->allows( 'php_in_uploads' ) );
	}

	/** Which field of a path below a root is not acceptable, or null. */
	public static function rejected_path( string $root, string $path, bool $is_folder, bool $allow_php ): ?string {
		$names = Site_Roots::path_segments( $path );
		if ( null === $names || 1 === preg_match( '/[\x00-\x1f\x7f\\\\]/', $path ) || self::is_other_root( $root, $path ) ) {
			return 'path';
		}
		if ( ! Site_Roots::is_exportable_path( $root, $names, $is_folder ) ) {
			return 'path';
		}
		if ( 'uploads' === $root && ! $allow_php && ! $is_folder && ( 1 === preg_match( self::EXECUTABLE_NAMES, end( $names ) ) || in_array( strtolower( end( $names ) ), self::SERVER_CONFIG_NAMES, true ) ) ) {
			return 'php';
		}
		return null;
	}

	/** Whether a path is, or leads into, another root that lies within this one. */
	private static function is_other_root( string $root, string $path ): bool {
		$roots = Site_Roots::folders();
		$full  = "{$roots[ $root ]}/$path/";
		foreach ( $roots as $name => $folder ) {
			if ( $name !== $root && null !== $folder && Site_Tables::starts_with( "$folder/", "{$roots[ $root ]}/" ) && $folder !== $roots[ $root ] && Site_Tables::starts_with( $full, "$folder/" ) ) {
				return true;
			}
		}
		return false;
	}

	/** Creates the folders of a path; false if something else is in the way. */
	private function make_folders( string $folder, array $names ): bool {
		$path = $folder . '/' . implode( '/', $names );
		if ( isset( $this->last_folder[ $path ] ) ) {
			return true;
		}
		foreach ( $names as $name ) {
			$folder .= "/$name";
			if ( ! $this->make_folder( $folder ) ) {
				return false;
			}
		}
		$this->last_folder = array( $path => true );
		return true;
	}

	/** Creates a folder if there is none. Another request may do the same. */
	private function make_folder( string $path ): bool {
		if ( @mkdir( $path, 0755 ) ) {
			return true;
		}
		clearstatcache( true, $path );
		if ( is_link( $path ) || ( file_exists( $path ) && ! is_dir( $path ) ) ) {
			return false;
		}
		if ( ! is_dir( $path ) ) {
			throw Staging_Folders::io_error();
		}
		return true;
	}

	private function open_target( string $path ): bool {
		$this->file['full'] = $path;
		if ( 0 !== ( $this->file['flags'] & self::FLAG_FOLDER ) ) {
			return $this->make_folder( $path );
		}
		clearstatcache( true, $path );
		if ( is_link( $path ) || is_dir( $path ) ) {
			return false;
		}
		if ( self::FLAG_DELETE === $this->file['flags'] ) {
			if ( is_file( $path ) && ! @unlink( $path ) ) {
				throw Staging_Folders::io_error();
			}
			return true;
		}
		$handle = @fopen( $path, 'cb' );
		if ( false === $handle ) {
			throw Staging_Folders::io_error();
		}
		$this->handle = $handle;
		$size         = fstat( $handle )['size'];
		if ( $size < $this->offset ) {
			throw new Migrator_Error( 'offset_gap', array( 'size' => $size ) );
		}
		fseek( $handle, $this->offset );
		return true;
	}

	private function write_bytes( string $bytes ): void {
		if ( $this->skipping ) {
			return;
		}
		if ( null === $this->handle || $this->offset + strlen( $bytes ) > $this->file['size'] ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
		if ( strlen( $bytes ) !== @fwrite( $this->handle, $bytes ) ) {
			throw Staging_Folders::io_error();
		}
		$this->offset += strlen( $bytes );
	}

	/** Ends a part. The last part of a file sets its size, time and mode. */
	private function finish_part(): void {
		if ( null === $this->file || $this->skipping ) {
			return;
		}
		$mode   = $this->file['mode'] & 0775;
		$handle = $this->handle;
		if ( self::FLAG_DELETE === $this->file['flags'] ) {
			$this->file = null;
		} elseif ( null === $handle ) {
			@chmod( $this->file['full'], $mode | 0700 );
		} else {
			$this->handle = null;
			$is_last      = 0 !== ( $this->file['flags'] & self::FLAG_LAST );
			if ( ! fflush( $handle ) ) {
				throw Staging_Folders::io_error();
			}
			$size = fstat( $handle )['size'];
			if ( $is_last && $size > $this->file['size'] ) {
				ftruncate( $handle, $this->file['size'] );
			}
			fclose( $handle );
			if ( $is_last && $size < $this->file['size'] ) {
				throw new Migrator_Error( 'offset_gap', array( 'size' => $size ) );
			}
			if ( $is_last ) {
				@chmod( $this->file['full'], $mode | 0600 );
				@touch( $this->file['full'], $this->file['mtime'] );
			}
		}
		++$this->stored;
	}

	private function reject( string $field ): void {
		$this->rejected[] = array(
			'root'  => $this->file['root'],
			'path'  => base64_encode( $this->file['path'] ),
			'field' => $field,
		);
		if ( count( $this->rejected ) > self::MAX_REJECTED ) {
			throw Migrator_Error::bad_request( 'frames' );
		}
	}
}
