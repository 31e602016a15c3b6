<?php
/**
 * The index of a folder's files, in a stable order, so that it can be resumed at a cursor and nothing has to be stored.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class File_Index {
	/** The maximum number of names of a folder in memory. */
	const PAGE_NAMES = 4096;

	/** Entries are collected into a frame until it has this length. */
	const FRAME_BYTES = 65536;

	const NO_DIGEST = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

	/** @var string */
	private $root;

	/** @var string */
	private $folder;

	/** @var bool Whether Site_Roots' exclusions apply; they do not in staging folders. */
	private $applies_exclusions;

	/** @var bool */
	private $with_digests;

	/** @var Request_Budget */
	private $budget;

	/** The response. */
	private $out;

	/** @var string */
	private $secret;

	/** @var string */
	private $frame = '';

	/** @var int */
	private $entries = 0;

	/** @var array|null Where to resume, if the budget is used up. */
	private $cursor = null;

	/** @var string The last path that was written. */
	private $last_path = '';

	/** Writes the index of a folder as the one of this root; returns the fields of the last frame. */
	public static function write( string $root, string $folder, bool $applies_exclusions, Json_Object $body, Frame_Writer $out, string $secret ): array {
		$self                     = new self();
		$self->root               = $root;
		$self->folder             = $folder;
		$self->applies_exclusions = $applies_exclusions;
		$self->with_digests       = $body->get_bool( 'digests', false );
		$self->budget             = new Request_Budget( $body );
		$self->out                = $out;
		$self->secret             = $secret;
		$cursor                   = $body->get_object( 'cursor' );
		$names                    = array();
		if ( null !== $cursor ) {
			$self->last_path = Json_Object::base64url_decode( $cursor->get_string( 'p', '/\A.{1,950}\z/' ), 'cursor' );
			$names           = Site_Roots::path_segments( $self->last_path );
			if ( null === $names || ! hash_equals( self::tag( $secret, $root, 'cursor ' . $self->last_path ), Json_Object::base64url_decode( $cursor->get_string( 't', '/\A.{22}\z/' ), 'cursor' ) ) ) {
				throw Migrator_Error::bad_request( 'cursor' );
			}
			if ( $self->with_digests && $cursor->has( 'o' ) ) {
				$self->resume_file( $names, $cursor );
			}
		}
		if ( null === $self->cursor ) {
			$self->walk( array(), $names );
		}
		$self->flush();
		return array(
			'cursor'  => $self->cursor,
			'entries' => $self->entries,
		);
	}

	/** A MAC of a path: proves that the path comes from this index. */
	public static function tag( string $secret, string $root, string $path ): string {
		if ( '' === $secret ) {
			throw new Migrator_Error( 'internal_error' );
		}
		return substr( hash_hmac( 'sha256', "$root\0$path", $secret, true ), 0, 16 );
	}

	/**
	 * Writes the entries of a folder, after the position to resume at. False when the budget is used up.
	 *
	 * @param string[] $parents
	 * @param string[] $resume_at
	 */
	private function walk( array $parents, array $resume_at ): bool {
		$from      = array_shift( $resume_at );
		$inclusive = null !== $from;
		do {
			$names = $this->names_in( $parents, $from, $inclusive );
			if ( null === $names ) {
				return true;
			}
			foreach ( $names as $name ) {
				$path    = array_merge( $parents, array( $name ) );
				$resumed = $inclusive && $name === $from;
				$deeper  = $resumed ? $this->is_folder( $path ) : $this->visit( $path );
				if ( null !== $this->cursor ) {
					return false;
				}
				if ( $deeper && ! $this->walk( $path, $resumed ? $resume_at : array() ) ) {
					return false;
				}
			}
			$inclusive = false;
			$from      = end( $names );
		} while ( count( $names ) >= self::PAGE_NAMES );
		return true;
	}

	/** The first names of a folder after `$from`, sorted, at most one page; null if it cannot be read. */
	private function names_in( array $parents, ?string $from, bool $inclusive ): ?array {
		$handle = @opendir( $this->folder . '/' . implode( '/', $parents ) );
		if ( false === $handle ) {
			return null;
		}
		$heap = new Name_Heap();
		while ( true ) {
			$name = readdir( $handle );
			if ( false === $name ) {
				break;
			}
			$order = null === $from ? 1 : strcmp( $name, $from );
			if ( '.' === $name || '..' === $name || $order < 0 || ( 0 === $order && ! $inclusive ) ) {
				continue;
			}
			$heap->insert( $name );
			if ( count( $heap ) > self::PAGE_NAMES ) {
				$heap->extract();
			}
		}
		closedir( $handle );
		$names = array();
		foreach ( $heap as $name ) {
			$names[] = $name;
		}
		return array_reverse( $names );
	}

	/** Whether to descend into a folder that was written before. */
	private function is_folder( array $names ): bool {
		$full = $this->folder . '/' . implode( '/', $names );
		return is_dir( $full ) && 'd' === $this->classify( $names, $full )[0];
	}

	/** Writes the entry of a file or folder; returns whether to descend into it. */
	private function visit( array $names ): bool {
		if ( $this->budget->is_exhausted( $this->out->bytes_written() + strlen( $this->frame ) ) && $this->entries > 0 ) {
			$this->set_cursor();
			return false;
		}
		$path = implode( '/', $names );
		if ( strlen( $path ) > Site_Roots::MAX_PATH_BYTES || count( $names ) > Site_Roots::MAX_DEPTH ) {
			// The entry only says that it exists; the truncated path cannot be used to fetch it.
			$this->write_entry( 'x', 'p', array(), self::NO_DIGEST, substr( $path, 0, Site_Roots::MAX_PATH_BYTES ) );
			return false;
		}
		$full                  = "{$this->folder}/$path";
		list( $kind, $reason ) = $this->classify( $names, $full );
		if ( null === $kind ) {
			$this->last_path = $path;
			return false;
		}
		$stat   = 'x' === $kind ? @lstat( $full ) : @stat( $full );
		$stat   = is_array( $stat ) ? $stat : array();
		$digest = self::NO_DIGEST;
		if ( 'f' === $kind && $this->with_digests ) {
			$digest = $this->file_digest( $names, $full, (int) $stat['size'], 0, '' );
			if ( null === $digest ) {
				return false;
			}
		}
		$this->write_entry( $kind, $reason, $stat, $digest, $path );
		return 'd' === $kind;
	}

	/**
	 * Kind and reason of an entry; null for another root, which has an index of its own.
	 *
	 * @return array{0: ?string, 1: string}
	 */
	private function classify( array $names, string $full ): array {
		$is_link = is_link( $full );
		$real    = $is_link ? realpath( $full ) : $full;
		$folder  = is_string( $real ) && is_dir( $real );
		if ( $this->applies_exclusions ) {
			if ( $folder && Site_Roots::is_other_root( (string) realpath( $full ), $this->root ) ) {
				return $is_link && ! Site_Roots::is_place_of_root( $full ) ? array( 'x', 'k' ) : array( null, '' );
			}
			$reason = Site_Roots::is_configuration( $full ) ? 's' : Site_Roots::exclusion_reason( $this->root, $names, $folder );
			if ( 'f' === $reason && Site_Roots::contains_root( (string) $real ) ) {
				$reason = 'r';
				if ( Site_Roots::contains_only_roots( (string) $real ) ) {
					return array( null, '' );
				}
			}
			if ( null !== $reason ) {
				return array( 'x', $reason );
			}
		}
		if ( $is_link && ( ! $this->applies_exclusions || ! is_string( $real ) || ! Site_Roots::follows_link( $this->root, $names ) ) ) {
			return array( 'x', 'k' );
		}
		if ( $folder ) {
			return is_readable( $full ) && is_executable( $full ) ? array( 'd', ' ' ) : array( 'x', 'u' );
		}
		if ( ! is_file( (string) $real ) ) {
			return array( 'x', 'n' );
		}
		return is_readable( $full ) ? array( 'f', ' ' ) : array( 'x', 'u' );
	}

	private function write_entry( string $kind, string $reason, array $stat, string $digest, string $path ): void {
		$this->frame .= $kind . $reason . pack( 'nJJ', ( $stat['mode'] ?? 0 ) & 0777, 'f' === $kind || 'x' === $kind ? $stat['size'] ?? 0 : 0, $stat['mtime'] ?? 0 )
			. $digest . self::tag( $this->secret, $this->root, $path ) . pack( 'n', strlen( $path ) ) . $path;
		++$this->entries;
		$this->last_path = $path;
		if ( strlen( $this->frame ) >= self::FRAME_BYTES ) {
			$this->flush();
		}
	}

	private function flush(): void {
		if ( '' !== $this->frame ) {
			$this->out->write_frame( 'I', $this->frame );
			$this->frame = '';
		}
	}

	/** Sets the cursor: by default after the last entry that was written. */
	private function set_cursor( array $more = array() ): void {
		$path         = $more['path'] ?? $this->last_path;
		$this->cursor = array(
			'p' => Json_Object::base64url_encode( $path ),
			't' => Json_Object::base64url_encode( self::tag( $this->secret, $this->root, 'cursor ' . $path ) ),
		) + ( isset( $more['o'] ) ? array(
			'o' => $more['o'],
			'v' => bin2hex( $more['v'] ),
		) : array() );
	}

	/** The digest of a file, from a block on; null if the deadline passes before its end. */
	private function file_digest( array $names, string $full, int $size, int $offset, string $chain ): ?string {
		$handle = @fopen( $full, 'rb' );
		if ( false === $handle ) {
			return self::NO_DIGEST;
		}
		fseek( $handle, $offset );
		do {
			$block   = Digest::read_block( $handle );
			$whole   = strlen( $block ) === Digest::BLOCK_BYTES;
			$offset += strlen( $block );
			$chain   = $size <= Digest::BLOCK_BYTES ? Digest::sha256( $block ) : Digest::chain( $chain, $block );
			if ( $whole && $offset < $size && $this->budget->deadline_passed() ) {
				fclose( $handle );
				$this->set_cursor(
					array(
						'path' => implode( '/', $names ),
						'o'    => $offset,
						'v'    => $chain,
					)
				);
				return null;
			}
		} while ( $whole && $offset < $size );
		fclose( $handle );
		return $chain;
	}

	/** Continues the digest of a large file. */
	private function resume_file( array $names, Json_Object $cursor ): void {
		$full = $this->folder . '/' . implode( '/', $names );
		$stat = 'f' === $this->classify( $names, $full )[0] ? @stat( $full ) : false;
		if ( ! is_array( $stat ) ) {
			return;
		}
		$digest = $this->file_digest( $names, $full, (int) $stat['size'], $cursor->get_int( 'o', 0, PHP_INT_MAX ), (string) hex2bin( $cursor->get_string( 'v', '/\A[0-9a-f]{64}\z/' ) ) );
		if ( null !== $digest ) {
			$this->write_entry( 'f', ' ', $stat, $digest, implode( '/', $names ) );
		}
	}
}

/** A heap with the greatest name on top, so that it can be dropped. */
final class Name_Heap extends \SplHeap {
	/**
	 * @param mixed $a
	 * @param mixed $b
	 */
	protected function compare( $a, $b ): int {
		return strcmp( $a, $b );
	}
}
