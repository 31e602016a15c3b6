<?php
/**
 * The routes that read the site: definitions, rows, checksums and the file index. Manifest and File_Export serve theirs.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Export_Controller {
	/** The route `definitions`: frames T from the cursor on. */
	public static function definitions( Json_Object $body, Frame_Writer $out ): array {
		$budget = new Request_Budget( $body );
		$schema = new Schema_Reader( Database::shared() );
		$cursor = $body->get_object( 'cursor' );
		$after  = null === $cursor ? '' : $cursor->get_string( 'a', '/\A[0123].{1,255}\z/s' );
		foreach ( $schema->sorted_names( self::requested_tables( $body ) ) as $name ) {
			if ( strcmp( $name, $after ) <= 0 ) {
				continue;
			}
			if ( $budget->is_exhausted( $out->bytes_written() ) ) {
				return array( 'cursor' => array( 'a' => $after ) );
			}
			$after      = $name;
			$definition = $schema->definition( $name[0], substr( $name, 1 ) );
			if ( null !== $definition ) {
				$out->write_json( 'T', $definition );
			}
			$budget->deadline_passed();
		}
		return array( 'cursor' => null );
	}

	/** The route `rows`: frames H, R and P of a table from the cursor on. */
	public static function rows( Json_Object $body, Frame_Writer $out ): array {
		$budget = new Request_Budget( $body );
		$rows   = self::requested_table( $body );
		$out->write_json( 'H', $rows->header() );
		$cursor = $rows->read( $body->get_object( 'cursor' ), $budget, $out );
		return array(
			'cursor' => $cursor,
			'end'    => $rows->end_cursor(),
		) + $rows->summary();
	}

	/** The route `checksum` for a table of the site: counts rows without sending them. */
	public static function checksum( Json_Object $body ): array {
		$rows   = self::requested_table( $body );
		$cursor = $rows->read( $body->get_object( 'cursor' ), new Request_Budget( $body ), null );
		return array( 'cursor' => $cursor ) + $rows->summary();
	}

	/** The route `index`: frames I with the files of a root from the cursor on. */
	public static function index( Json_Object $body, Frame_Writer $out, string $index_secret ): array {
		$root = $body->get_string( 'root' );
		if ( in_array( $root, Site_Roots::NAMES, true ) && null === Site_Roots::folders()[ $root ] ) {
			return array(
				'cursor'  => null,
				'entries' => 0,
			);
		}
		return File_Index::write( $root, Site_Roots::folder( $root ), true, $body, $out, $index_secret );
	}

	private static function requested_table( Json_Object $body ): Row_Reader {
		return Row_Reader::for_table( Database::shared(), $body->get_string( 'table', '/\A.{1,255}\z/s' ), self::requested_tables( $body ) );
	}

	/** @return array<string, string> */
	private static function requested_tables( Json_Object $body ): array {
		return Site_Tables::requested_tables( Database::shared(), $body->get_bool( 'unprefixed', false ) );
	}
}
