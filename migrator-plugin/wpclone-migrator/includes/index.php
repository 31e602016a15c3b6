<?php
/**
 * Keeps web servers from listing this folder.
 */

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}
