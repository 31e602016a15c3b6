<?php
/**
 * What a table's SHOW CREATE TABLE says that information_schema does not: MariaDB's periods.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Create_Statement {
	/** A quoted name. */
	const NAME = '`((?:[^`]|``)+)`';

	/** @var string */
	private $text;

	public function __construct( string $text ) {
		$this->text = $text;
	}

	/**
	 * The periods of the table; that of a versioned table is named SYSTEM_TIME.
	 *
	 * @return array<int, array<string, string>> Each with `name`, `from` and `to`.
	 */
	public function periods(): array {
		$found = array();
		preg_match_all( '/^  PERIOD FOR (?:(SYSTEM_TIME)|' . self::NAME . ') \(' . self::NAME . ', ' . self::NAME . '\),?$/m', $this->text, $lines, PREG_SET_ORDER );
		foreach ( $lines as $line ) {
			$found[] = array(
				'name' => '' !== $line[1] ? $line[1] : self::unquoted( $line[2] ),
				'from' => self::unquoted( $line[3] ),
				'to'   => self::unquoted( $line[4] ),
			);
		}
		return $found;
	}

	/**
	 * Unique indexes whose rows must not overlap in a period.
	 *
	 * @return array<string, string> Index => period.
	 */
	public function without_overlaps(): array {
		$found = array();
		preg_match_all( '/^  (?:PRIMARY KEY|UNIQUE KEY ' . self::NAME . ') \((?:.*,)?' . self::NAME . ' WITHOUT OVERLAPS\)/m', $this->text, $lines, PREG_SET_ORDER );
		foreach ( $lines as $line ) {
			$found[ '' === $line[1] ? 'PRIMARY' : self::unquoted( $line[1] ) ] = self::unquoted( $line[2] );
		}
		return $found;
	}

	private static function unquoted( string $name ): string {
		return str_replace( '``', '`', $name );
	}
}
