<?php
/**
 * The bootstrap of tests with a real WordPress: a site and its database, loaded into this process as `$site`. If something is
 * not installed, the test file ends here, and has printed what is missing.
 */

require __DIR__ . '/test-site.php';
require __DIR__ . '/table-helpers.php';

$site = Test_Site::make();
if ( null === $site ) {
	exit( 0 );
}
$_SERVER['HTTP_HOST']     = 'real.invalid';
$_SERVER['DOCUMENT_ROOT'] = $site->path;
require "{$site->path}/wp-load.php";
