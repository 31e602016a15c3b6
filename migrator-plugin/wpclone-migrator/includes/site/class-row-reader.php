<?php
/**
 * Reads the rows of a table in the order of a key, streamed.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Row_Reader {
	/** Longer values are sent in pieces. Part of the protocol: digests depend on it. */
	const LARGE_VALUE_BYTES = 131072;

	/** The length of a piece. */
	const PIECE_BYTES = 262144;

	/** Rows are collected into a frame until it has this length. */
	const FRAME_BYTES = 65536;

	/** The number of rows of the first query of a request, and the maximum of any query. */
	const FIRST_PAGE_ROWS = 16;
	const MAX_PAGE_ROWS   = 8192;

	/** Bytes of rows per query when rows are only counted. */
	const CHECKSUM_PAGE_BYTES = 1048576;

	/** The maximum length of a cursor with key values; if the key is longer, the cursor is a row number. */
	const MAX_CURSOR_BYTES = 900;

	const NULL_MARKER  = 0xFFFFFFFF;
	const LARGE_MARKER = 0xFFFFFFFE;

	/** @var Database */
	private $db;

	/** @var string */
	private $table;

	/** @var array[] Columns that are transferred: all but generated ones. */
	private $columns;

	/** @var int The number of these columns. */
	private $count;

	/** @var int[] Positions of the key in them; empty: rows are paged by number. */
	private $key = array();

	/** @var string The name of the key's index. */
	private $index = '';

	/** @var int[] Positions of columns that may have large values. */
	private $large_columns = array();

	/** @var int */
	private $rows = 0;

	/** @var int Bytes of the rows so far, large values included. */
	private $bytes_read = 0;

	/** @var string XOR of the rows' SHA-256. */
	private $digest;

	/** @var array|null */
	private $end_cursor = null;

	/** @param array $definition As Schema_Reader::table_definition() returns it. */
	public function __construct( Database $db, array $definition ) {
		$this->db      = $db;
		$this->table   = $definition['name'];
		$this->digest  = str_repeat( "\0", 32 );
		$this->columns = array();
		foreach ( $definition['columns'] as $column ) {
			if ( null === $column['generated'] ) {
				if ( 1 === preg_match( '/\A(?:medium|long)(?:text|blob)|\A(?:json|geometry|point|linestring|polygon|multi|geom)/i', $column['type'] ) ) {
					$this->large_columns[] = count( $this->columns );
				}
				$this->columns[] = $column;
			}
		}
		$this->count = count( $this->columns );
		$positions   = array_flip( array_column( $this->columns, 'name' ) );
		foreach ( $definition['key'] as $name ) {
			$this->key[] = $positions[ $name ];
		}
		foreach ( $definition['indexes'] as $index ) {
			if ( $definition['key'] && $index['unique'] && array_column( $index['parts'], 'column' ) === $definition['key'] && '' === $this->index ) {
				$this->index = $index['name'];
			}
		}
	}

	/** The fields of frame H: table, columns, and the positions of the key in them. */
	public function header(): array {
		return array(
			'table'   => $this->table,
			'columns' => array_column( $this->columns, 'name' ),
			'key'     => $this->key,
		);
	}

	/**
	 * A reader for one of these tables.
	 *
	 * @param array<string, string> $tables As Site_Tables::requested_tables() returns them.
	 */
	public static function for_table( Database $db, string $table, array $tables ): self {
		return new self( $db, self::readable_definition( $db, $table, $tables ) );
	}

	/**
	 * The definition of one of these tables; `gone` if there is none, or the database's error if it cannot open the table.
	 *
	 * @param array<string, string> $tables As Site_Tables::requested_tables() returns them.
	 */
	public static function readable_definition( Database $db, string $table, array $tables ): array {
		$type       = $tables[ $table ] ?? Site_Tables::SEQUENCE;
		$definition = in_array( $type, array( Site_Tables::VIEW, Site_Tables::SEQUENCE ), true ) ? null : ( new Schema_Reader( $db ) )->table_definition( $table );
		if ( null === $definition ) {
			throw new Migrator_Error( 'gone' );
		}
		if ( '' === $definition['engine'] ) {
			// The database cannot open it, and says why when it is read.
			$db->fetch_value( 'SELECT 1 FROM ' . Database::identifier( $table ) . ' LIMIT 1' );
			throw new Migrator_Error( 'gone' );
		}
		return $definition;
	}

	/** Bytes of the rows so far, large values included. */
	public function bytes_read(): int {
		return $this->bytes_read;
	}

	/** After the last row of the table: the cursor after this row; null if the table is empty. */
	public function end_cursor(): ?array {
		return $this->end_cursor;
	}

	/** The number of rows and their digest. */
	public function summary(): array {
		return array(
			'rows'   => $this->rows,
			'digest' => bin2hex( $this->digest ),
		);
	}

	/** Reads from the cursor on until the budget is used up; returns the next cursor. Without `$out` rows are only counted. */
	public function read( ?Json_Object $cursor, Request_Budget $budget, ?Frame_Writer $out ): ?array {
		list( $where, $seen ) = $this->start_position( $cursor );
		if ( null !== $out && null !== $cursor && $cursor->has( 'c' ) ) {
			$next = $this->finish_row( $cursor, $budget, $out );
			if ( null !== $next ) {
				return $next;
			}
		}
		$frame = '';
		foreach ( $this->pages( $where, $seen, $budget, $out ) as $seen => $row ) {
			list( $bytes, $large ) = $this->count_row( $row );
			if ( null === $out ) {
				if ( ( 0 === ( $this->rows & 63 ) || $large ) && $budget->deadline_passed() ) {
					return $this->cursor_after( $row, $seen );
				}
				continue;
			}
			$frame .= $bytes;
			if ( ! $large && strlen( $frame ) < self::FRAME_BYTES && ! $budget->is_exhausted( $out->bytes_written() + strlen( $frame ) ) ) {
				continue;
			}
			$out->write_frame( 'R', $frame );
			$frame = '';
			if ( $large ) {
				$next = $this->send_pieces( $this->cursor_after( $row, $seen ), $large, 0, $budget, $out );
				if ( null !== $next ) {
					return $next;
				}
			}
			if ( $budget->is_exhausted( $out->bytes_written() ) || $budget->deadline_passed() ) {
				return $this->cursor_after( $row, $seen );
			}
		}
		if ( '' !== $frame && null !== $out ) {
			$out->write_frame( 'R', $frame );
		}
		if ( isset( $row ) ) {
			$this->end_cursor = $this->cursor_after( $row, $seen );
		} elseif ( null !== $cursor ) {
			$this->end_cursor = self::validated_cursor( $cursor );
		}
		return null;
	}

	/**
	 * All rows from a position on, queried page by page: number of rows so far => row.
	 *
	 * @return \Generator<int, array<int, string|null>>
	 */
	private function pages( string $where, int $seen, Request_Budget $budget, ?Frame_Writer $out ): \Generator {
		do {
			$limit_rows = $this->page_rows( null === $out ? self::CHECKSUM_PAGE_BYTES : $budget->bytes_left( $out->bytes_written() ) );
			$found      = 0;
			foreach ( $this->db->stream_rows( $this->select_sql( $where, $seen, $limit_rows ) ) as $row ) {
				++$found;
				yield $seen + $found => $row;
			}
			if ( $found === $limit_rows ) {
				list( $where, $seen ) = $this->position_after( $this->cursor_after( $row, $seen + $found ) );
			}
		} while ( $found === $limit_rows );
	}

	/** The number of rows to query for so many bytes, estimated from the rows so far. */
	private function page_rows( int $bytes ): int {
		if ( 0 === $this->rows ) {
			return self::FIRST_PAGE_ROWS;
		}
		return min( self::MAX_PAGE_ROWS, intdiv( $bytes, intdiv( $this->bytes_read, $this->rows ) + 1 ) + 1 );
	}

	/** Counts a row; returns it as encode_row() does. */
	private function count_row( array $row ): array {
		list( $bytes, $large ) = $this->encode_row( $row );
		++$this->rows;
		$this->bytes_read += strlen( $bytes ) + array_sum( $large );
		$this->digest     ^= Digest::sha256( $bytes );
		return array( $bytes, $large );
	}

	/** A row in the format of a frame, and the sizes of its large values: position => bytes. */
	private function encode_row( array $row ): array {
		$count = $this->count;
		$large = array();
		foreach ( $this->large_columns as $i => $position ) {
			if ( null !== $row[ $count + $i ] ) {
				list( $size, $sha ) = explode( ':', $row[ $count + $i ] );
				$large[ $position ] = (int) $size;
				// The reference takes the place of the value, which is NULL here. The extra column is dropped.
				$row[ $position ] = pack( 'J', (int) $size ) . hex2bin( $sha );
				$row[ $count + $i ] = null;
			}
		}
		$sizes = array();
		for ( $position = 0; $position < $count; ++$position ) {
			$value = $row[ $position ];
			// With the backslash PHP compiles this to an opcode instead of a function call; it runs for every value of a site.
			$sizes[] = null === $value ? self::NULL_MARKER : \strlen( $value );
		}
		foreach ( $large as $position => $size ) {
			$sizes[ $position ] = self::LARGE_MARKER;
		}
		return array( \pack( 'N*', ...$sizes ) . \implode( '', $row ), $large );
	}

	/**
	 * Sends the large values of the row at the cursor, starting at an offset of the first one. The connection is busy with the
	 * rows, so the pieces are read through a second one.
	 *
	 * @param array<int, int> $large
	 */
	private function send_pieces( array $cursor, array $large, int $offset, Request_Budget $budget, Frame_Writer $out ): ?array {
		static $second = null;
		if ( null === $second ) {
			$second = Database::connect();
		}
		$condition = $this->row_condition( $cursor );
		foreach ( $large as $position => $size ) {
			$name = Database::identifier( $this->columns[ $position ]['name'] );
			while ( $offset < $size ) {
				if ( $budget->is_exhausted( $out->bytes_written() ) || $budget->deadline_passed() ) {
					return $cursor + array(
						'c' => $position,
						'o' => $offset,
					);
				}
				$from  = $offset + 1;
				$piece = $second->fetch_value( "SELECT SUBSTRING(CONVERT($name USING binary), $from, " . self::PIECE_BYTES . ") FROM {$this->from_clause()} $condition" );
				if ( null === $piece || '' === $piece ) {
					throw new Migrator_Error( 'gone' );
				}
				$out->write_frame( 'P', pack( 'nJ', $position, $offset ) . $piece );
				$offset += strlen( $piece );
			}
			$offset = 0;
		}
		return null;
	}

	/** Sends the rest of a row that an earlier request began. */
	private function finish_row( Json_Object $cursor, Request_Budget $budget, Frame_Writer $out ): ?array {
		$count    = count( $this->columns );
		$position = $cursor->get_int( 'c', 0, $count - 1 );
		$offset   = $cursor->get_int( 'o', 0, PHP_INT_MAX );
		$clean    = self::validated_cursor( $cursor );
		$row      = $this->db->fetch_all( "SELECT {$this->select_list()} FROM {$this->from_clause()} " . $this->row_condition( $clean ) )[0] ?? null;
		if ( null === $row ) {
			throw new Migrator_Error( 'gone' );
		}
		list( , $large ) = $this->encode_row( $row );
		$rest            = array();
		foreach ( $large as $at => $size ) {
			if ( $at >= $position ) {
				$rest[ $at ] = $size;
			}
		}
		if ( ! isset( $rest[ $position ] ) ) {
			throw new Migrator_Error( 'gone' );
		}
		return $this->send_pieces( $clean, $rest, $offset, $budget, $out );
	}

	/** The SELECT list: all values, followed by length and hash of those that are large. */
	private function select_list(): string {
		$parts = array();
		$after = array();
		foreach ( $this->columns as $position => $column ) {
			$name = Database::identifier( $column['name'] );
			if ( in_array( $position, $this->large_columns, true ) ) {
				$parts[] = "IF(LENGTH($name) > " . self::LARGE_VALUE_BYTES . ", NULL, $name)";
				$after[] = "IF(LENGTH($name) > " . self::LARGE_VALUE_BYTES . ", CONCAT(LENGTH($name), ':', SHA2($name, 256)), NULL)";
			} elseif ( 1 === preg_match( '/\Abit/i', $column['type'] ) ) {
				$parts[] = "CAST($name AS UNSIGNED)";
			} elseif ( 1 === preg_match( '/\Afloat/i', $column['type'] ) ) {
				$parts[] = "$name + 0e0";
			} elseif ( 1 === preg_match( '/\Avector/i', $column['type'] ) ) {
				// MySQL sends this as a type that PHP's client does not know.
				$parts[] = "CONVERT($name USING binary)";
			} else {
				$parts[] = $name;
			}
		}
		return implode( ', ', array_merge( $parts, $after ) );
	}

	private function from_clause(): string {
		return Database::identifier( $this->table ) . ( $this->key ? ' FORCE INDEX (' . Database::identifier( $this->index ) . ')' : '' );
	}

	private function select_sql( string $where, int $skip, int $max_rows ): string {
		$order = array();
		foreach ( $this->key as $position ) {
			$order[] = Database::identifier( $this->columns[ $position ]['name'] );
		}
		$limit = '' === $where && $skip > 0 ? "$skip, $max_rows" : $max_rows;
		return "SELECT {$this->select_list()} FROM {$this->from_clause()} $where" . ( $order ? ' ORDER BY ' . implode( ', ', $order ) : '' ) . " LIMIT $limit";
	}

	/** Where to start: a WHERE clause, or a number of rows to skip. */
	private function start_position( ?Json_Object $cursor ): array {
		return null === $cursor ? array( '', 0 ) : $this->position_after( self::validated_cursor( $cursor ) );
	}

	/** The cursor of a request as cursor_after() made it, without the position within its row. */
	private static function validated_cursor( Json_Object $cursor ): array {
		$clean = array( 'n' => $cursor->get_int( 'n', 1, PHP_INT_MAX ) );
		return $cursor->has( 'k' ) ? array( 'k' => $cursor->get_list( 'k', 32 ) ) + $clean : $clean;
	}

	/** The position after a cursor. */
	private function position_after( array $cursor ): array {
		if ( ! isset( $cursor['k'] ) ) {
			return array( '', $cursor['n'] );
		}
		$either = array();
		$same   = array();
		foreach ( $this->quoted_key( $cursor['k'] ) as $name => $value ) {
			$either[] = '(' . implode( ' AND ', array_merge( $same, array( "$name > $value" ) ) ) . ')';
			$same[]   = "$name = $value";
		}
		return array( 'WHERE ' . implode( ' OR ', $either ), $cursor['n'] );
	}

	/** A condition for exactly the row at a cursor. */
	private function row_condition( array $cursor ): string {
		if ( ! isset( $cursor['k'] ) ) {
			$before = $cursor['n'] - 1;
			return ( $this->key ? 'ORDER BY ' . implode( ', ', array_map( array( $this, 'key_column' ), $this->key ) ) : '' ) . " LIMIT $before, 1";
		}
		$same = array();
		foreach ( $this->quoted_key( $cursor['k'] ) as $name => $value ) {
			$same[] = "$name = $value";
		}
		return 'WHERE ' . implode( ' AND ', $same );
	}

	private function key_column( int $position ): string {
		return Database::identifier( $this->columns[ $position ]['name'] );
	}

	/** The key's columns and values, quoted so that they compare as the index orders them. */
	private function quoted_key( array $values ): array {
		if ( array() === $this->key || count( $values ) !== count( $this->key ) ) {
			throw new Migrator_Error( 'gone' );
		}
		$found = array();
		foreach ( $this->key as $i => $position ) {
			if ( ! is_string( $values[ $i ] ) ) {
				throw Migrator_Error::bad_request( 'cursor' );
			}
			$bytes  = Json_Object::base64url_decode( $values[ $i ], 'cursor' );
			$column = $this->columns[ $position ];
			if ( null !== $column['charset'] ) {
				$value = "_{$column['charset']} x'" . bin2hex( $bytes ) . "' COLLATE {$column['collation']}";
			} elseif ( 1 === preg_match( '/binary|blob/i', $column['type'] ) ) {
				$value = "x'" . bin2hex( $bytes ) . "'";
			} else {
				$is_number = 1 === preg_match( '/\A-?[0-9]{1,65}(?:\.[0-9]{1,30})?\z/', $bytes );
				$value     = $is_number ? $bytes : $this->db->quote( $bytes );
			}
			$found[ $this->key_column( $position ) ] = $value;
		}
		return $found;
	}

	/** The cursor after a row. */
	private function cursor_after( array $row, int $seen ): array {
		$values = array();
		$size   = 0;
		foreach ( $this->key as $position ) {
			$values[] = Json_Object::base64url_encode( (string) $row[ $position ] );
			$size    += strlen( end( $values ) ) + 3;
		}
		return ( $values && $size <= self::MAX_CURSOR_BYTES ? array( 'k' => $values ) : array() ) + array( 'n' => $seen );
	}
}
