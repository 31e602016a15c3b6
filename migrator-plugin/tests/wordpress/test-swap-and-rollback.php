<?php
/**
 * A complete import job on a real WordPress: content is sent, prepared, swapped, rolled back and committed; processes are
 * killed at each step; requests in the wrong phase are rejected.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';
require __DIR__ . '/../support/file-helpers.php';

$content = "{$site->path}/wp-content";
mkdir( "$content/mu-plugins" );
mkdir( "$content/uploads/2020", 0755, true );
mkdir( "$content/cache" );
mkdir( "$content/mine" );
file_put_contents( "$content/mu-plugins/wpclone-sandbox.php", "<?php\n// ours" );
file_put_contents( "$content/mu-plugins/theirs.php", "<?php\n// old" );
file_put_contents( "$content/uploads/2020/old.txt", 'old' );
file_put_contents( "$content/cache/kept", 'kept' );
file_put_contents( "$content/object-cache.txt", 'old' );
file_put_contents( "$content/mine/old", 'old' );
symlink( '/nowhere', "$content/mine/link" );
$site->sql( 'CREATE TABLE wp_parent (id INT PRIMARY KEY, CHECK (id < 1000), CONSTRAINT few CHECK (id <> 77)) ENGINE=InnoDB' );
$site->sql( 'CREATE TABLE wp_child (id INT PRIMARY KEY, p INT, KEY p (p), CONSTRAINT named FOREIGN KEY (p) REFERENCES wp_parent (id) ON DELETE CASCADE, CONSTRAINT wp_child_ibfk_1 FOREIGN KEY (id) REFERENCES wp_parent (id))' );
$site->sql( 'INSERT INTO wp_parent VALUES (1),(2)' );
$site->sql( 'INSERT INTO wp_child VALUES (1,1),(2,2)' );
$site->sql( 'CREATE DEFINER=site@localhost VIEW wp_seen AS SELECT id FROM wp_parent' );
$site->sql( 'CREATE DEFINER=site@localhost TRIGGER watch BEFORE INSERT ON wp_parent FOR EACH ROW SET NEW.id = NEW.id' );
$site->sql( 'CREATE TABLE wp_left (id INT PRIMARY KEY)' );
$site->sql( 'INSERT INTO wp_left VALUES (9)' );
$site->load_plugin();

/** The frames of a complete file. */
function file_frames( string $root, string $path, string $bytes ): array {
	return array( frame_f( $root, $path, strlen( $bytes ) ), array( 'D', $bytes ) );
}

/** The state of the site: files except those of WordPress itself, tables and their rows; without the plugin's own. */
function site_state( Test_Site $site ): array {
	$found = array();
	$walk  = new RecursiveIteratorIterator( new RecursiveDirectoryIterator( "{$site->path}/wp-content", FilesystemIterator::SKIP_DOTS ), RecursiveIteratorIterator::SELF_FIRST );
	foreach ( $walk as $path => $info ) {
		$path = substr( $path, strlen( $site->path ) );
		if ( 1 !== preg_match( '~/wp-content/(?:themes|languages|wpclone-)~', $path ) ) {
			$found[ $path ] = $info->isLink() ? 'link' : ( $info->isDir() ? 'folder' : hash_file( 'sha256', $site->path . $path ) );
		}
	}
	foreach ( $site->rows( 'SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()' ) as list( $table, $type ) ) {
		if ( 0 === strncmp( $table, 'wp_wpclone_', 11 ) ) {
			continue;
		}
		$where = 'wp_options' === $table ? "WHERE option_name NOT LIKE 'wpclone%'" : '';
		$id    = 'wp_options' === $table ? 'option_name' : '*';
		$found[ "$table" ] = $type . ' ' . preg_replace( '/ AUTO_INCREMENT=\d+|DEFINER=\S+/', '', $site->rows( "SHOW CREATE TABLE $table" )[0][1] ) . md5( serialize( $site->rows( "SELECT $id FROM $table $where ORDER BY 1" ) ) );
	}
	foreach ( $site->rows( 'SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()' ) as $trigger ) {
		if ( 0 !== strncmp( $trigger[1], 'wp_wpclone_', 11 ) ) {
			$found[ "trigger {$trigger[0]}" ] = "{$trigger[1]} {$trigger[2]}";
		}
	}
	ksort( $found );
	return $found;
}

/** Reports the differences. */
function same_state( array $expected, array $actual, string $what ): void {
	same( array(), array_diff_assoc( $expected, $actual ), "$what: missing or other" );
	same( array(), array_diff_key( $actual, $expected ), "$what: too much" );
}

/** Sends the content of a small job, which is open afterwards. */
function send_content( Test_Site $site, string $job ): void {
	$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'content', 'plugins', 'mu-plugins', 'uploads' ), 'allow' => array( 'views', 'triggers' ) ) );
	$all = definitions( $site );
	foreach ( array( 'wp_options', 'wp_parent', 'wp_child' ) as $name ) {
		$n[ $name ] = import_table( $site, $job, $all[ "table $name" ] )['table_id'];
	}
	$site->sql( "UPDATE wp_wpclone_new_{$n['wp_options']} SET option_value = 'New' WHERE option_name = 'blogname'" );
	$site->sql( "UPDATE wp_wpclone_new_{$n['wp_options']} SET option_value = 'a:1:{i:0;s:11:\"new/new.php\";}' WHERE option_name = 'active_plugins'" );
	$site->sql( "UPDATE wp_wpclone_new_{$n['wp_options']} SET option_value = 'plain' WHERE option_name IN ('template', 'stylesheet')" );
	// An option of the source is never taken for the migrator's key.
	$site->sql( "INSERT INTO wp_wpclone_new_{$n['wp_options']} (option_name, option_value) VALUES ('wpclone_migrator', 'the key of another site')" );
	$site->sql( "INSERT INTO wp_wpclone_new_{$n['wp_parent']} VALUES (3)" );
	$site->request_ok( 'define', array( 'job' => $job, 'definition' => array( 'kind' => 'view', 'name' => 'wp_seen', 'select' => 'select max(`id`) AS `m` from `wp_parent`', 'security' => 'INVOKER', 'definer' => 'x@y', 'check_option' => 'NONE' ) ) );
	$site->request_ok( 'define', array( 'job' => $job, 'definition' => array( 'kind' => 'view', 'name' => 'wp_also', 'select' => 'select 1 AS `one`', 'security' => 'DEFINER', 'definer' => 'x@y', 'check_option' => 'NONE' ) ) );
	$site->request_ok( 'define', array( 'job' => $job, 'definition' => array( 'kind' => 'trigger', 'name' => 'watch', 'table' => 'wp_parent', 'timing' => 'AFTER', 'event' => 'INSERT', 'body' => 'SET @x = 1', 'definer' => 'x@y' ) ) );
	$stored = $site->request_ok(
		'store-files',
		Test_Site::encode_frames(
			array( 'job' => $job ),
			array_merge(
				file_frames( 'content', 'object-cache.txt', 'new' ),
				file_frames( 'content', 'fresh/in/deep.txt', 'new' ),
				file_frames( 'content', 'themes/plain/style.css', '/* Theme Name: Plain */' ),
				file_frames( 'content', 'themes/plain/index.php', '<title><?php bloginfo( "name" ); ?></title>' ),
				file_frames( 'plugins', 'new/new.php', "<?php\n/* Plugin Name: New */\n" ),
				file_frames( 'mu-plugins', 'theirs.php', "<?php\n// new" ),
				array( frame_f( 'uploads', '2021', 0, 1, 0, 0755 ) ),
				file_frames( 'uploads', "2020/\u{1F600}.txt", 'new' )
			)
		)
	);
	same( array( 'stored' => 8, 'rejected' => array() ), $stored, 'stored' );
}

test(
	'the sandbox plugin is replaced if that is allowed, and restored by a rollback',
	static function () use ( $site ) {
		$job = random_job();
		$ours = "{$site->path}/wp-content/mu-plugins/wpclone-sandbox.php";
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'mu-plugins' ), 'allow' => array( 'sandbox_plugin' ) ) );
		$site->request_ok( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), file_frames( 'mu-plugins', basename( $ours ), "<?php\n// newer" ) ) );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		$site->until_done( 'swap', array( 'job' => $job ) );
		same( "<?php\n// newer", file_get_contents( $ours ), 'swapped' );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		same( "<?php\n// ours", file_get_contents( $ours ), 'rolled back' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

/** The job of the following tests: prepared. */
$job = random_job();
$old = site_state( $site );
$new = array();

test(
	'a prepared job has not changed the site',
	static function () use ( $site, $job, $old ) {
		send_content( $site, $job );
		same( 'bad_request', $site->request_error( 'swap', array( 'job' => $job ) )['error'], 'swap before prepare' );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		same_state( $old, site_state( $site ), 'site' );
		same( array(), glob( "{$site->path}/wp-content/wpclone-*" ), 'no folder of ours below the web' );
		$folders = $site->staging_folders();
		same( 1, count( $folders ), 'one folder of ours' );
		same( 1, preg_match( '~/web/wpclone-[0-9a-f]{32}\z~', $folders[0] ), 'a name that nobody guesses' );
		same( 0, fileperms( $folders[0] ) & 0777, 'closed' );
	}
);

test(
	'the index of staged files is available',
	static function () use ( $site, $job ) {
		$got = $site->request( 'staged-index', array( 'job' => $job, 'root' => 'content', 'digests' => true ) );
		$all = '';
		foreach ( $got->frames as list( $kind, $payload ) ) {
			$all .= 'I' === $kind ? $payload : '';
		}
		foreach ( array( 'fresh', 'fresh/in', 'fresh/in/deep.txt', 'object-cache.txt' ) as $path ) {
			check( false !== strpos( $all, pack( 'n', strlen( $path ) ) . $path ), $path );
		}
		check( false !== strpos( $all, hash( 'sha256', 'new', true ) ), 'digest' );
		same( 8, $got->json['entries'], 'entries' );
	}
);

test(
	'a swap replaces everything but what is preserved, and a rollback restores everything',
	static function () use ( $site, $job, $old, &$new ) {
		$result = $site->until_done( 'swap', array( 'job' => $job ) );
		same( array( true, array() ), array( $result['reversible'], $result['rejected'] ), 'result' );
		$new     = site_state( $site );
		$content = "{$site->path}/wp-content";
		foreach ( array( 'object-cache.txt' => 'new', 'fresh/in/deep.txt' => 'new', "uploads/2020/\u{1F600}.txt" => 'new', 'mu-plugins/theirs.php' => "<?php\n// new", 'mu-plugins/wpclone-sandbox.php' => "<?php\n// ours", 'cache/kept' => 'kept' ) as $path => $bytes ) {
			same( $bytes, file_get_contents( "$content/$path" ), $path );
		}
		foreach ( array( 'mine', 'uploads/2020/old.txt', 'plugins/akismet', 'plugins/hello.php' ) as $path ) {
			check( ! file_exists( "$content/$path" ), "$path is gone" );
		}
		check( is_file( "$content/plugins/wpclone-migrator/wpclone-migrator.php" ) && is_dir( "$content/uploads/2021" ), 'ours and folders' );
		same( 1700000000, filemtime( "$content/object-cache.txt" ), 'time' );
		same( 'New', $site->value( "SELECT option_value FROM wp_options WHERE option_name = 'blogname'" ), 'blogname' );
		same( array( 'new/new.php', 'wpclone-migrator/wpclone-migrator.php' ), unserialize( $site->value( "SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'" ) ), 'active' );
		same( '3', $site->value( 'SELECT m FROM wp_seen' ), 'view' );
		same( '1', $site->value( "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_TABLE = 'wp_parent' AND ACTION_STATEMENT = 'SET @x = 1'" ), 'trigger' );
		same( '9', $site->value( 'SELECT id FROM wp_left' ), 'a table that did not come' );
		$keys = $site->rows( "SELECT CONSTRAINT_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'site' AND TABLE_NAME = 'wp_child' ORDER BY 1" );
		same( array( array( 'wp_child_ibfk_1', 'wp_parent' ), array( 'wp_child_ibfk_1000', 'wp_parent' ) ), $keys, 'foreign keys' );
		same( 'bad_request', $site->request_error( 'abort', array( 'job' => $job ) )['error'], 'abort after swap' );
		same( $result, $site->request_ok( 'swap', array( 'job' => $job ) ), 'asked again' );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		same_state( $old, site_state( $site ), 'rolled back' );
		$site->until_done( 'rollback', array( 'job' => $job ) );
	}
);

/** Every point at which a request may be killed, or every third of them. */
function kill_positions( int $steps, int $offset ): array {
	$all = range( 1, 2 * $steps );
	return getenv( 'WPCLONE_ROUNDS' ) ? $all : array_filter( $all, static function ( $i ) use ( $offset ) { return $offset === $i % 3; } );
}

/** The number of steps of a request that succeeds. */
function count_steps( Test_Site $site, string $route, string $job ): int {
	$got = $site->request( $route, array( 'job' => $job ) );
	check( 200 === $got->status && true === $got->json['done'], "$route: {$got->body}" );
	return $got->steps;
}

test(
	'a swap that was killed can be continued or rolled back',
	static function () use ( $site, $job, $old, &$new ) {
		$steps = count_steps( $site, 'swap', $job );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		foreach ( kill_positions( $steps, 1 ) as $i => $point ) {
			same( null, $site->request( 'swap', array( 'job' => $job ), $point ), "killed at $point" );
			if ( 0 === $i % 2 ) {
				$site->until_done( 'swap', array( 'job' => $job ) );
				same_state( $new, site_state( $site ), "swapped after $point" );
			}
			$site->until_done( 'rollback', array( 'job' => $job ) );
			same_state( $old, site_state( $site ), "rolled back after $point" );
		}
	}
);

test(
	'a rollback that was killed can be continued',
	static function () use ( $site, $job, $old ) {
		$site->until_done( 'swap', array( 'job' => $job ) );
		$steps = count_steps( $site, 'rollback', $job );
		foreach ( kill_positions( $steps, 2 ) as $point ) {
			$site->until_done( 'swap', array( 'job' => $job ) );
			same( null, $site->request( 'rollback', array( 'job' => $job ), $point ), "killed at $point" );
			$site->until_done( 'rollback', array( 'job' => $job ) );
			same_state( $old, site_state( $site ), "rolled back after $point" );
		}
	}
);

test(
	'a transaction that uses a table makes the swap busy; afterwards it can be continued',
	static function () use ( $site, $job, &$new, $old ) {
		$other = $site->server->link( 'site' );
		mysqli_query( $other, 'START TRANSACTION' );
		mysqli_query( $other, 'SELECT * FROM wp_parent' );
		same( 'busy', $site->request_error( 'swap', array( 'job' => $job ) )['error'], 'swap' );
		mysqli_query( $other, 'COMMIT' );
		$site->until_done( 'swap', array( 'job' => $job ) );
		same_state( $new, site_state( $site ), 'swapped' );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		same_state( $old, site_state( $site ), 'rolled back' );
	}
);

test(
	'an entry that was created or deleted after the journal was written does no harm',
	static function () use ( $site, $job, $old, &$new ) {
		$content = "{$site->path}/wp-content";
		same( null, $site->request( 'swap', array( 'job' => $job ), 2 * steps_until_moves( $site, $job ) + 1 ), 'killed before the first move' );
		mkdir( "$content/fresh" );
		file_put_contents( "$content/fresh/came", 'x' );
		rename( "$content/object-cache.txt", "{$site->server->folder}/went" );
		$site->until_done( 'swap', array( 'job' => $job ) );
		same_state( $new, site_state( $site ), 'swapped' );
		$site->until_done( 'rollback', array( 'job' => $job ) );
		same( 'x', file_get_contents( "$content/fresh/came" ), 'it is back' );
		unlink( "$content/fresh/came" );
		rmdir( "$content/fresh" );
		rename( "{$site->server->folder}/went", "$content/object-cache.txt" );
		same_state( $old, site_state( $site ), 'rolled back' );
	}
);

/** Statements before the first file is moved: the request's own, the journal's, and the new phase. */
function steps_until_moves( Test_Site $site, string $job ): int {
	$site->until_done( 'swap', array( 'job' => $job ) );
	$entries = (int) $site->value( 'SELECT COUNT(*) FROM wp_wpclone_import_moves' );
	$site->until_done( 'rollback', array( 'job' => $job ) );
	return 1 + 3 + $entries + 1;
}

test(
	'a commit leaves nothing but the new site; killed, it can be continued',
	static function () use ( $site, $job, &$new ) {
		$site->until_done( 'swap', array( 'job' => $job ) );
		for ( $point = 1; $point < 200; $point += 2 ) {
			$got = $site->request( 'commit', array( 'job' => $job ), $point );
			if ( null !== $got ) {
				check( ( $got->json['done'] ?? false ) || 'job_not_found' === $got->json['error'], $got->body );
				break;
			}
		}
		same( array(), $site->plugin_tables(), 'tables' );
		same( array(), $site->staging_folders(), 'folders' );
		same_state( $new, site_state( $site ), 'site' );
		same( 'job_not_found', $site->request_error( 'commit', array( 'job' => $job ) )['error'], 'asked again' );
	}
);

test(
	'WordPress runs on the imported content',
	static function () use ( $site ) {
		$page = $site->server->run( array( PHP_BINARY, '-d', 'display_errors=stderr', '-r', '$_SERVER["HTTP_HOST"]="real.invalid";$_SERVER["REQUEST_URI"]="/";$_SERVER["SERVER_PROTOCOL"]="HTTP/1.1";$_SERVER["REQUEST_METHOD"]="GET";require "index.php";' ), $site->path );
		check( false !== strpos( $page, '<title>New' ), 'title: ' . substr( $page, 0, 300 ) );
	}
);

test(
	'uninstalling the plugin during a swap restores the site and leaves nothing behind',
	static function () use ( $site ) {
		$old = site_state( $site );
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
		import_table( $site, $job, definitions( $site )['table wp_left'] );
		$site->request_ok( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), file_frames( 'uploads', 'x', 'new' ) ) );
		$site->until_done( 'prepare', array( 'job' => $job ) );
		same( null, $site->request( 'swap', array( 'job' => $job ), 16 ), 'killed' );
		same( 'swapping', $site->value( 'SELECT phase FROM wp_wpclone_import_job' ), 'phase' );
		$site->server->run( array( PHP_BINARY, '-r', '$_SERVER["HTTP_HOST"]="real.invalid";$_SERVER["REQUEST_URI"]="/";$_SERVER["SERVER_PROTOCOL"]="HTTP/1.1";require "wp-load.php";define("WP_UNINSTALL_PLUGIN", "wpclone-migrator/wpclone-migrator.php");require WP_PLUGIN_DIR . "/wpclone-migrator/uninstall.php";' ), $site->path );
		same( array(), array_merge( $site->plugin_tables(), $site->staging_folders() ), 'nothing is left' );
		same( array(), $site->rows( "SHOW TABLES LIKE 'wp\\_wpclone\\_%'" ), 'tables' );
		same( array( array( 'wpclone_migrator', 'the key of another site' ) ), $site->rows( "SELECT option_name, option_value FROM wp_options WHERE option_name LIKE 'wpclone%'" ), 'options' );
		same_state( $old, site_state( $site ), 'site' );
	}
);
