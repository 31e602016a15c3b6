<?php
/**
 * File names, the greatest on top so that it can be dropped: keeps the first names of a large folder.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Name_Heap extends \SplHeap {
	/**
	 * @param mixed $a
	 * @param mixed $b
	 */
	protected function compare( $a, $b ): int {
		return strcmp( $a, $b );
	}
}
