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
if ( isset( $more_config ) ) {
	// What a test file adds to wp-config.php, and what that loads from above the web root.
	file_put_contents( dirname( $site->path ) . '/example-bootstrap.php', $bootstrap );
	$config = file_get_contents( "{$site->path}/wp-config.php" );
	file_put_contents( "{$site->path}/wp-config.php", str_replace( '$table_prefix', $more_config . "\n\$table_prefix", $config ) );
}
$_SERVER['HTTP_HOST']     = 'real.invalid';
$_SERVER['DOCUMENT_ROOT'] = $site->path;
require "{$site->path}/wp-load.php";
