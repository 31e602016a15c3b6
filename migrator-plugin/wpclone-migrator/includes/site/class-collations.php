<?php
/**
 * The collations that this database server supports.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Collations {
	/** Names, sorted. */
	public static function available( Database $db ): array {
		static $known = null;
		if ( null === $known ) {
			// Since 10.10 MariaDB has collations for several charsets; their full names are in another table.
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
