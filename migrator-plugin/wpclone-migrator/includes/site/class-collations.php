<?php
/**
 * Charsets and collations of this database.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Collations {
	/** @return string[] */
	public static function available( Database $db ): array {
		static $known = null;
		if ( null === $known ) {
			// Newer MariaDBs have collations that go with several charsets; there the full name is in another table.
			$names = array_merge(
				array_column( $db->fetch_all( 'SELECT COLLATION_NAME FROM information_schema.COLLATIONS' ), 0 ),
				array_column( $db->is_at_least( null, '10.10' ) ? $db->fetch_all( 'SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY' ) : array(), 0 )
			);
			$known = array_values( array_unique( array_map( 'strval', $names ) ) );
			sort( $known );
		}
		return $known;
	}
}
