<?php
/**
 * The bootstrap of tests with a real WordPress: a site and its database, loaded into this process as `$site`. If the site
 * cannot be started, whatever the reason, the test file fails and ends here.
 */

require __DIR__ . '/test-site.php';
require __DIR__ . '/table-helpers.php';

try {
	$site = Test_Site::make();
} catch ( Throwable $e ) {
	echo 'FAILED ', basename( $_SERVER['SCRIPT_NAME'] ?? __FILE__ ), ': ', $e->getMessage(), "\n";
	exit( 1 );
}
$_SERVER['HTTP_HOST']     = 'real.invalid';
$_SERVER['DOCUMENT_ROOT'] = $site->path;
require "{$site->path}/wp-load.php";
