<?php
/**
 * The rows of a table: read one after the other by key, never many of them in memory.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Rows {
	/** A value with more bytes comes in pieces. Part of the protocol: digests depend on it. */
	const LARGE = 131072;

	/** Bytes of such a piece. */
	const PIECE = 262144;

	/** Rows are put into a frame until it has so many bytes. */
	const FRAME = 65536;

	/** Rows that the first query of a request asks for, and the most that one does. */
	const FIRST_PAGE = 16;
	const MOST_PAGE  = 8192;

	/** Bytes of rows that are asked for at a time where they are only counted. */
	const PAGE = 1048576;

	/** The most bytes of a cursor that holds a key; with a longer key rows are counted instead. */
	const MOST_CURSOR = 900;

	const NO_VALUE    = 0xFFFFFFFF;
	const LARGE_VALUE = 0xFFFFFFFE;

	/** @var Db */
	private $db;

	/** @var string */
	private $table;

	/** @var array[] Columns that have values of their own. */
	private $columns;

	/** @var int How many these are. */
	private $count;

	/** @var int[] Places of the key in them; none: rows are counted. */
	private $key = array();

	/** @var string Name of the index that the key is of. */
	private $index = '';

	/** @var int[] Places of columns whose values may be large. */
	private $long = array();

	/** @var int */
	private $rows = 0;

	/** @var int Bytes of these rows, large values included. */
	private $read = 0;

	/** @var string XOR of the rows' SHA-256. */
	private $digest;

	/** @param array $definition As Schema makes it. */
	public function __construct( Db $db, array $definition ) {
		$this->db      = $db;
		$this->table   = $definition['name'];
		$this->digest  = str_repeat( "\0", 32 );
		$this->columns = array();
		foreach ( $definition['columns'] as $column ) {
			if ( null === $column['generated'] ) {
				if ( 1 === preg_match( '/\A(?:medium|long)(?:text|blob)|\A(?:json|geometry|point|linestring|polygon|multi|geom)/i', $column['type'] ) ) {
					$this->long[] = count( $this->columns );
				}
				$this->columns[] = $column;
			}
		}
		$this->count = count( $this->columns );
		$places      = array_flip( array_column( $this->columns, 'name' ) );
		foreach ( $definition['key'] as $name ) {
			$this->key[] = $places[ $name ];
		}
		foreach ( $definition['indexes'] as $index ) {
			if ( $definition['key'] && $index['unique'] && array_column( $index['parts'], 'column' ) === $definition['key'] && '' === $this->index ) {
				$this->index = $index['name'];
			}
		}
	}

	/** The route `rows`. */
	public static function send( Json $body, Frames $out ): array {
		$budget = new Budget( $body );
		$self   = self::of( Db::get(), $body->text_of( 'table', '/\A.{1,255}\z/s' ) );
		$out->json(
			'H',
			array(
				'table'   => $self->table,
				'columns' => array_column( $self->columns, 'name' ),
				'key'     => $self->key,
			)
		);
		$cursor = $self->run( $body->part( 'cursor' ), $budget, $out );
		return array( 'cursor' => $cursor ) + $self->counted();
	}

	/** The rows of one of this site's tables. */
	public static function of( Db $db, string $table ): self {
		$definition = isset( Tables::ours( $db )[ $table ] ) ? ( new Schema( $db ) )->table( $table ) : null;
		if ( null === $definition || '' === $definition['engine'] ) {
			throw new Trouble( 'moved' );
		}
		return new self( $db, $definition );
	}

	/** How many rows there were, and their digest. */
	public function counted(): array {
		return array(
			'rows'   => $this->rows,
			'digest' => bin2hex( $this->digest ),
		);
	}

	/** Goes on from the cursor until the budget is used; gives the next cursor. Without `$out` it only counts. */
	public function run( ?Json $cursor, Budget $budget, ?Frames $out ): ?array {
		list( $where, $seen ) = $this->place( $cursor );
		if ( null !== $out && null !== $cursor && $cursor->has( 'c' ) ) {
			$stopped = $this->rest_of_row( $cursor, $budget, $out );
			if ( null !== $stopped ) {
				return $stopped;
			}
		}
		$frame = '';
		foreach ( $this->each( $where, $seen, $budget, $out ) as $seen => $row ) {
			list( $bytes, $large ) = $this->count( $row );
			if ( null === $out ) {
				if ( ( 0 === ( $this->rows & 63 ) || $large ) && $budget->late_now() ) {
					return $this->cursor( $row, $seen );
				}
				continue;
			}
			$frame .= $bytes;
			if ( ! $large && strlen( $frame ) < self::FRAME && ! $budget->used( $out->written() + strlen( $frame ) ) ) {
				continue;
			}
			$out->frame( 'R', $frame );
			$frame = '';
			if ( $large ) {
				$stopped = $this->pieces( $this->cursor( $row, $seen ), $large, 0, $budget, $out );
				if ( null !== $stopped ) {
					return $stopped;
				}
			}
			if ( $budget->used( $out->written() ) || $budget->late_now() ) {
				return $this->cursor( $row, $seen );
			}
		}
		if ( '' !== $frame && null !== $out ) {
			$out->frame( 'R', $frame );
		}
		return null;
	}

	/**
	 * All rows from a place on, asked for by the page: how many were seen with it => row.
	 *
	 * @return \Generator<int, array<int, string|null>>
	 */
	private function each( string $where, int $seen, Budget $budget, ?Frames $out ): \Generator {
		do {
			$asked = $this->page( null === $out ? self::PAGE : $budget->left( $out->written() ) );
			$found = 0;
			foreach ( $this->db->each( $this->select( $where, $seen, $asked ) ) as $row ) {
				++$found;
				yield $seen + $found => $row;
			}
			if ( $found === $asked ) {
				list( $where, $seen ) = $this->after( $this->cursor( $row, $seen + $found ) );
			}
		} while ( $found === $asked );
	}

	/** How many rows to ask for: those that have so many bytes, going by the ones before. */
	private function page( int $bytes ): int {
		if ( 0 === $this->rows ) {
			return self::FIRST_PAGE;
		}
		return min( self::MOST_PAGE, intdiv( $bytes, intdiv( $this->read, $this->rows ) + 1 ) + 1 );
	}

	/** Counts a row; gives it as bytes() does. */
	private function count( array $row ): array {
		list( $bytes, $large ) = $this->bytes( $row );
		++$this->rows;
		$this->read   += strlen( $bytes ) + array_sum( $large );
		$this->digest ^= Sha::of( $bytes );
		return array( $bytes, $large );
	}

	/** A row as it stands in a frame, and where its large values are: place => bytes. */
	private function bytes( array $row ): array {
		$count = $this->count;
		$large = array();
		foreach ( $this->long as $i => $place ) {
			if ( null !== $row[ $count + $i ] ) {
				list( $size, $sha ) = explode( ':', $row[ $count + $i ] );
				$large[ $place ]    = (int) $size;
				// It stands in the place of the value, which is NULL here, and leaves its own.
				$row[ $place ]      = pack( 'J', (int) $size ) . hex2bin( $sha );
				$row[ $count + $i ] = null;
			}
		}
		$sizes = array();
		for ( $place = 0; $place < $count; ++$place ) {
			$value   = $row[ $place ];
			// With its backslash this is an instruction of PHP's, not a call: it is done for every value of a site.
			$sizes[] = null === $value ? self::NO_VALUE : \strlen( $value );
		}
		foreach ( $large as $place => $size ) {
			$sizes[ $place ] = self::LARGE_VALUE;
		}
		return array( \pack( 'N*', ...$sizes ) . \implode( '', $row ), $large );
	}

	/**
	 * Sends the large values of the row that the cursor is at, from an offset of the first one on. The connection is
	 * busy with the rows; a second one reads the pieces.
	 *
	 * @param array<int, int> $large
	 */
	private function pieces( array $cursor, array $large, int $offset, Budget $budget, Frames $out ): ?array {
		static $second = null;
		if ( null === $second ) {
			$second = Db::open();
		}
		$exactly = $this->exactly( $cursor );
		foreach ( $large as $place => $size ) {
			$name = Db::name( $this->columns[ $place ]['name'] );
			while ( $offset < $size ) {
				if ( $budget->used( $out->written() ) || $budget->late_now() ) {
					return $cursor + array(
						'c' => $place,
						'o' => $offset,
					);
				}
				$from  = $offset + 1;
				$piece = $second->value( "SELECT SUBSTRING(CONVERT($name USING binary), $from, " . self::PIECE . ") FROM {$this->from()} $exactly" );
				if ( null === $piece || '' === $piece ) {
					throw new Trouble( 'moved' );
				}
				$out->frame( 'P', pack( 'nJ', $place, $offset ) . $piece );
				$offset += strlen( $piece );
			}
			$offset = 0;
		}
		return null;
	}

	/** Goes on with a row that was begun. */
	private function rest_of_row( Json $cursor, Budget $budget, Frames $out ): ?array {
		$count  = count( $this->columns );
		$place  = $cursor->number( 'c', 0, $count - 1 );
		$offset = $cursor->number( 'o', 0, PHP_INT_MAX );
		$clean  = self::clean( $cursor );
		$row    = $this->db->all( "SELECT {$this->selected()} FROM {$this->from()} " . $this->exactly( $clean ) )[0] ?? null;
		if ( null === $row ) {
			throw new Trouble( 'moved' );
		}
		list( , $large ) = $this->bytes( $row );
		$rest            = array();
		foreach ( $large as $at => $size ) {
			if ( $at >= $place ) {
				$rest[ $at ] = $size;
			}
		}
		if ( ! isset( $rest[ $place ] ) ) {
			throw new Trouble( 'moved' );
		}
		return $this->pieces( $clean, $rest, $offset, $budget, $out );
	}

	/** What is selected: every value, and behind them length and hash of those that are large. */
	private function selected(): string {
		$parts = array();
		$after = array();
		foreach ( $this->columns as $place => $column ) {
			$name = Db::name( $column['name'] );
			if ( in_array( $place, $this->long, true ) ) {
				$parts[] = "IF(LENGTH($name) > " . self::LARGE . ", NULL, $name)";
				$after[] = "IF(LENGTH($name) > " . self::LARGE . ", CONCAT(LENGTH($name), ':', SHA2($name, 256)), NULL)";
			} elseif ( 1 === preg_match( '/\Abit/i', $column['type'] ) ) {
				$parts[] = "CAST($name AS UNSIGNED)";
			} elseif ( 1 === preg_match( '/\Afloat/i', $column['type'] ) ) {
				$parts[] = "$name + 0e0";
			} elseif ( 1 === preg_match( '/\Avector/i', $column['type'] ) ) {
				// As MySQL sends it, it is a type that PHP does not know.
				$parts[] = "CONVERT($name USING binary)";
			} else {
				$parts[] = $name;
			}
		}
		return implode( ', ', array_merge( $parts, $after ) );
	}

	private function from(): string {
		return Db::name( $this->table ) . ( $this->key ? ' FORCE INDEX (' . Db::name( $this->index ) . ')' : '' );
	}

	private function select( string $where, int $skip, int $most ): string {
		$order = array();
		foreach ( $this->key as $place ) {
			$order[] = Db::name( $this->columns[ $place ]['name'] );
		}
		$limit = '' === $where && $skip > 0 ? "$skip, $most" : $most;
		$own   = $this->without_own();
		if ( '' !== $own ) {
			$where = '' === $where ? "WHERE $own" : 'WHERE (' . substr( $where, strlen( 'WHERE ' ) ) . ") AND $own";
		}
		return "SELECT {$this->selected()} FROM {$this->from()} $where" . ( $order ? ' ORDER BY ' . implode( ', ', $order ) : '' ) . " LIMIT $limit";
	}

	/** Our own options do not travel, and change with every request. */
	private function without_own(): string {
		global $wpdb;
		return $wpdb->options === $this->table && $this->key ? "option_name NOT LIKE 'wpclone\\_migrator%'" : '';
	}

	/** Where to go on, as a condition or as the number of rows to pass over. */
	private function place( ?Json $cursor ): array {
		return null === $cursor ? array( '', 0 ) : $this->after( self::clean( $cursor ) );
	}

	/** A cursor that came, as cursor() makes it; without a place within its row. */
	private static function clean( Json $cursor ): array {
		$clean = array( 'n' => $cursor->number( 'n', 1, PHP_INT_MAX ) );
		return $cursor->has( 'k' ) ? array( 'k' => $cursor->items( 'k', 32 ) ) + $clean : $clean;
	}

	/** The same, of a cursor that cursor() made. */
	private function after( array $cursor ): array {
		if ( ! isset( $cursor['k'] ) ) {
			return array( '', $cursor['n'] );
		}
		$either = array();
		$same   = array();
		foreach ( $this->key_values( $cursor['k'] ) as $name => $value ) {
			$either[] = '(' . implode( ' AND ', array_merge( $same, array( "$name > $value" ) ) ) . ')';
			$same[]   = "$name = $value";
		}
		return array( 'WHERE ' . implode( ' OR ', $either ), $cursor['n'] );
	}

	/** A condition for exactly the row that a cursor is at. */
	private function exactly( array $cursor ): string {
		if ( ! isset( $cursor['k'] ) ) {
			$before = $cursor['n'] - 1;
			return ( $this->key ? 'ORDER BY ' . implode( ', ', array_map( array( $this, 'key_name' ), $this->key ) ) : '' ) . " LIMIT $before, 1";
		}
		$same = array();
		foreach ( $this->key_values( $cursor['k'] ) as $name => $value ) {
			$same[] = "$name = $value";
		}
		return 'WHERE ' . implode( ' AND ', $same );
	}

	private function key_name( int $place ): string {
		return Db::name( $this->columns[ $place ]['name'] );
	}

	/** The key's names and values, quoted so that they compare as the index does. */
	private function key_values( array $values ): array {
		if ( array() === $this->key || count( $values ) !== count( $this->key ) ) {
			throw new Trouble( 'moved' );
		}
		$found = array();
		foreach ( $this->key as $i => $place ) {
			if ( ! is_string( $values[ $i ] ) ) {
				throw Trouble::bad( 'cursor' );
			}
			$bytes  = Json::from64( $values[ $i ], 'cursor' );
			$column = $this->columns[ $place ];
			if ( null !== $column['charset'] ) {
				$value = "_{$column['charset']} x'" . bin2hex( $bytes ) . "' COLLATE {$column['collation']}";
			} elseif ( 1 === preg_match( '/binary|blob/i', $column['type'] ) ) {
				$value = "x'" . bin2hex( $bytes ) . "'";
			} else {
				$is_number = 1 === preg_match( '/\A-?[0-9]{1,65}(?:\.[0-9]{1,30})?\z/', $bytes );
				$value     = $is_number ? $bytes : $this->db->text( $bytes );
			}
			$found[ $this->key_name( $place ) ] = $value;
		}
		return $found;
	}

	/** The cursor after a row. */
	private function cursor( array $row, int $seen ): array {
		$values = array();
		$size   = 0;
		foreach ( $this->key as $place ) {
			$values[] = Json::to64( (string) $row[ $place ] );
			$size    += strlen( end( $values ) ) + 3;
		}
		return ( $values && $size <= self::MOST_CURSOR ? array( 'k' => $values ) : array() ) + array( 'n' => $seen );
	}
}
