<?php
/**
 * What each of these stories begins with: a WordPress and its database, loaded into this process as `$site`. Where there
 * is none, the story ends here, and has said so.
 */

require __DIR__ . '/site.php';
require __DIR__ . '/values.php';

$site = Site::make();
if ( null === $site ) {
	exit( 0 );
}
$_SERVER['HTTP_HOST']     = 'real.invalid';
$_SERVER['DOCUMENT_ROOT'] = $site->path;
require "{$site->path}/wp-load.php";
