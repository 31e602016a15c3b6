<?php
/**
 * The index of a root's files, made anew each time in an order that stays, so that nothing has to be kept of it.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Index {
	/** So many names of a folder are held in memory at a time. */
	const PAGE = 4096;

	/** Entries are put into a frame until it has so many bytes. */
	const FRAME = 65536;

	const NO_DIGEST = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

	/** @var string */
	private $root;

	/** @var string */
	private $folder;

	/** @var bool Whether files of ours and others are told apart: not in a folder that we made. */
	private $sorts;

	/** @var bool */
	private $digests;

	/** @var Budget */
	private $budget;

	/** @var Frames */
	private $out;

	/** @var string */
	private $secret;

	/** @var string */
	private $frame = '';

	/** @var int */
	private $entries = 0;

	/** @var array|null Where to go on. */
	private $cursor = null;

	/** @var string The last path that was told. */
	private $last = '';

	/** The route `index`. */
	public static function send( Json $body, Frames $out, State $state ): array {
		$root = $body->text_of( 'root' );
		if ( in_array( $root, Roots::NAMES, true ) && null === Roots::all()[ $root ] ) {
			return array(
				'cursor'  => null,
				'entries' => 0,
			);
		}
		return self::of( $root, Roots::folder( $root ), true, $body, $out, $state->secret() );
	}

	/** An index of any folder, as if it were this root. */
	public static function of( string $root, string $folder, bool $sorts, Json $body, Frames $out, string $secret ): array {
		$self          = new self();
		$self->root    = $root;
		$self->folder  = $folder;
		$self->sorts   = $sorts;
		$self->digests = $body->flag( 'digests', false );
		$self->budget  = new Budget( $body );
		$self->out     = $out;
		$self->secret  = $secret;
		$cursor        = $body->part( 'cursor' );
		$names         = array();
		if ( null !== $cursor ) {
			$self->last = Json::from64( $cursor->text_of( 'p', '/\A.{1,950}\z/' ), 'cursor' );
			$names      = Roots::names( $self->last );
			if ( null === $names || ! hash_equals( self::tag( $secret, $root, 'cursor ' . $self->last ), Json::from64( $cursor->text_of( 't', '/\A.{22}\z/' ), 'cursor' ) ) ) {
				throw Trouble::bad( 'cursor' );
			}
			if ( $self->digests && $cursor->has( 'o' ) ) {
				$self->go_on_with_file( $names, $cursor );
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

	/** What proves that a path is from this index. */
	public static function tag( string $secret, string $root, string $path ): string {
		if ( '' === $secret ) {
			throw new Trouble( 'failed' );
		}
		return substr( hash_hmac( 'sha256', "$root\0$path", $secret, true ), 0, 16 );
	}

	/**
	 * Tells what is in a folder, behind the names that were told before. False if it was enough.
	 *
	 * @param string[] $parents
	 * @param string[] $told
	 */
	private function walk( array $parents, array $told ): bool {
		$from      = array_shift( $told );
		$inclusive = null !== $from;
		do {
			$names = $this->names_in( $parents, $from, $inclusive );
			if ( null === $names ) {
				return true;
			}
			foreach ( $names as $name ) {
				$path    = array_merge( $parents, array( $name ) );
				$resumed = $inclusive && $name === $from;
				$deeper  = $resumed ? $this->is_folder( $path ) : $this->tell( $path );
				if ( null !== $this->cursor ) {
					return false;
				}
				if ( $deeper && ! $this->walk( $path, $resumed ? $told : array() ) ) {
					return false;
				}
			}
			$inclusive = false;
			$from      = end( $names );
		} while ( count( $names ) >= self::PAGE );
		return true;
	}

	/** The first names of a folder after a given one, in order, and at most a page of them; null if it cannot be read. */
	private function names_in( array $parents, ?string $from, bool $inclusive ): ?array {
		$handle = @opendir( $this->folder . '/' . implode( '/', $parents ) );
		if ( false === $handle ) {
			return null;
		}
		$heap = new Names_Heap();
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
			if ( count( $heap ) > self::PAGE ) {
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

	/** Whether a folder that was told already is to be gone into. */
	private function is_folder( array $names ): bool {
		$full = $this->folder . '/' . implode( '/', $names );
		return ! is_link( $full ) && is_dir( $full ) && 'd' === $this->kind( $names, $full )[0];
	}

	/** Tells one file or folder; says whether it is to be gone into. */
	private function tell( array $names ): bool {
		if ( $this->budget->used( $this->out->written() + strlen( $this->frame ) ) && $this->entries > 0 ) {
			$this->stop();
			return false;
		}
		$path = implode( '/', $names );
		if ( strlen( $path ) > Roots::MOST_PATH || count( $names ) > Roots::MOST_DEPTH ) {
			// Told without a way to it: only that it is there.
			$this->entry( 'x', 'p', array(), self::NO_DIGEST, substr( $path, 0, Roots::MOST_PATH ) );
			return false;
		}
		$full                = "{$this->folder}/$path";
		list( $kind, $reason ) = $this->kind( $names, $full );
		if ( null === $kind ) {
			$this->last = $path;
			return false;
		}
		$stat   = 'x' === $kind ? @lstat( $full ) : @stat( $full );
		$stat   = is_array( $stat ) ? $stat : array();
		$digest = self::NO_DIGEST;
		if ( 'f' === $kind && $this->digests ) {
			$digest = $this->digest( $names, $full, (int) $stat['size'], 0, '' );
			if ( null === $digest ) {
				return false;
			}
		}
		$this->entry( $kind, $reason, $stat, $digest, $path );
		return 'd' === $kind;
	}

	/**
	 * Kind and reason; no kind for what is another root and told there.
	 *
	 * @return array{0: ?string, 1: string}
	 */
	private function kind( array $names, string $full ): array {
		$is_link = is_link( $full );
		$real    = $is_link ? realpath( $full ) : $full;
		$folder  = is_string( $real ) && is_dir( $real );
		if ( $this->sorts ) {
			if ( $folder && Roots::is_root_but( (string) realpath( $full ), $this->root ) ) {
				return array( null, '' );
			}
			$reason = Roots::reason( $this->root, $names, $folder && ! $is_link );
			if ( null !== $reason ) {
				return array( 'x', $reason );
			}
		}
		if ( $is_link && ( ! $this->sorts || $folder || ! is_string( $real ) || ! Roots::travels( $real ) ) ) {
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

	private function entry( string $kind, string $reason, array $stat, string $digest, string $path ): void {
		$this->frame .= $kind . $reason . pack( 'nJJ', ( $stat['mode'] ?? 0 ) & 0777, 'f' === $kind || 'x' === $kind ? $stat['size'] ?? 0 : 0, $stat['mtime'] ?? 0 )
			. $digest . self::tag( $this->secret, $this->root, $path ) . pack( 'n', strlen( $path ) ) . $path;
		++$this->entries;
		$this->last = $path;
		if ( strlen( $this->frame ) >= self::FRAME ) {
			$this->flush();
		}
	}

	private function flush(): void {
		if ( '' !== $this->frame ) {
			$this->out->frame( 'I', $this->frame );
			$this->frame = '';
		}
	}

	/** Notes where to go on: after the last entry that was told. */
	private function stop( array $more = array() ): void {
		$path         = $more['path'] ?? $this->last;
		$this->cursor = array(
			'p' => Json::to64( $path ),
			't' => Json::to64( self::tag( $this->secret, $this->root, 'cursor ' . $path ) ),
		) + ( isset( $more['o'] ) ? array(
			'o' => $more['o'],
			'v' => bin2hex( $more['v'] ),
		) : array() );
	}

	/** The digest of a file, from a block on; null if the time is up before its end. */
	private function digest( array $names, string $full, int $size, int $offset, string $chain ): ?string {
		$handle = @fopen( $full, 'rb' );
		if ( false === $handle ) {
			return self::NO_DIGEST;
		}
		fseek( $handle, $offset );
		do {
			$block   = Sha::block( $handle );
			$whole   = strlen( $block ) === Sha::BLOCK;
			$offset += strlen( $block );
			$chain   = $size <= Sha::BLOCK ? Sha::of( $block ) : Sha::link( $chain, $block );
			if ( $whole && $offset < $size && $this->budget->late_now() ) {
				fclose( $handle );
				$this->stop(
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

	/** Goes on within a large file. */
	private function go_on_with_file( array $names, Json $cursor ): void {
		$full = $this->folder . '/' . implode( '/', $names );
		$stat = 'f' === $this->kind( $names, $full )[0] ? @stat( $full ) : false;
		if ( ! is_array( $stat ) ) {
			return;
		}
		$digest = $this->digest( $names, $full, (int) $stat['size'], $cursor->number( 'o', 0, PHP_INT_MAX ), (string) hex2bin( $cursor->text_of( 'v', '/\A[0-9a-f]{64}\z/' ) ) );
		if ( null !== $digest ) {
			$this->entry( 'f', ' ', $stat, $digest, implode( '/', $names ) );
		}
	}
}

/** The greatest name is on top, so that it can be taken out. */
final class Names_Heap extends \SplHeap {
	/**
	 * @param mixed $a
	 * @param mixed $b
	 */
	protected function compare( $a, $b ): int {
		return strcmp( $a, $b );
	}
}
