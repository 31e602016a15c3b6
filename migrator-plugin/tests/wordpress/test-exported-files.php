<?php
/**
 * Which files of a site are exported: names that look left over inside of code, links to folders and files, uploads in two
 * places; and what the manifest says of wp-config.php.
 */

require __DIR__ . '/../support/harness.php';

/** What wp-config.php defines besides: name => PHP, and the expected value or the reason why it is not reported. */
const CONSTANTS = array(
	'EXAMPLE_LEVEL'    => array( '7', 7, null ),
	'EXAMPLE_ON'       => array( 'true', true, null ),
	'EXAMPLE_TEXT'     => array( '"It\'s 5 \u{20ac}"', "It's 5 \u{20ac}", null ),
	'EXAMPLE_EMPTY'    => array( "''", '', null ),
	'WP_POST_REVISIONS' => array( '3', 3, null ),
	'EXAMPLE_API_KEY'  => array( "'abc'", null, 'secret' ),
	'EXAMPLE_LICENCE'  => array( "'abc-123'", null, 'secret' ),
	'EXAMPLE_RANDOM'   => array( "'f3a9c0d1e2b4a5968778695a4b3c2d1e'", null, 'secret' ),
	'EXAMPLE_LOCATION' => array( "'https://bob:pw@api.example/'", null, 'secret' ),
	'EXAMPLE_FOLDER'   => array( "'/srv/data'", null, 'path' ),
	'EXAMPLE_DRIVE'    => array( "'C:\\\\data'", null, 'path' ),
	'EXAMPLE_BELOW'    => array( "'x:' . __DIR__ . '/x'", null, 'path' ),
	'EXAMPLE_SITE'     => array( "'https://cdn.real.invalid/x'", null, 'address' ),
	'EXAMPLE_LIST'     => array( 'array( 1 )', null, 'kind' ),
	'EXAMPLE_FLOAT'    => array( '1.5', null, 'kind' ),
	'EXAMPLE_NULL'     => array( 'null', null, 'kind' ),
	'EXAMPLE_BINARY'   => array( '"a\\xff"', null, 'kind' ),
	'EXAMPLE_LONG'     => array( "str_repeat( 'a ', 600 )", null, 'size' ),
);
$more_config = 'require __DIR__ . "/../example-bootstrap.php";';
foreach ( CONSTANTS as $name => list( $php ) ) {
	$more_config .= "\ndefine( '$name', $php );";
}
// What is loaded from above the web root counts as well.
$more_config .= "\nconst EXAMPLE_CONST = 'const';";
$bootstrap    = "<?php\ndefine( 'EXAMPLE_FROM_BOOTSTRAP', 'here' );\n";

require __DIR__ . '/../support/file-helpers.php';
require __DIR__ . '/../support/site-bootstrap.php';

use Wpclone\Migrator\Json_Object;

$site->load_plugin();
$tree    = $site->path;
$content = "$tree/wp-content";
$shared  = dirname( $tree ) . '/shared';

/** Writes a file, and the folders that it lies in. */
function put( string $path, string $text = 'x' ): void {
	is_dir( dirname( $path ) ) || mkdir( dirname( $path ), 0755, true );
	file_put_contents( $path, $text );
}

/** The entries of a root: path => kind and reason; in responses of at most so many bytes. */
function entries( Test_Site $site, string $root, int $bytes = 262144 ): array {
	$found  = array();
	$cursor = null;
	do {
		$got    = $site->request( 'index', array( 'root' => $root, 'cursor' => $cursor, 'bytes' => $bytes ) );
		$cursor = $got->json['cursor'];
		check( 200 === $got->status && count( $found ) < 100000, 'index' );
		foreach ( $got->frames as list( $kind, $payload ) ) {
			for ( $at = 0; 'I' === $kind && $at < strlen( $payload ); $at += 70 + $entry['length'] ) {
				$entry = unpack( 'akind/areason/nmode/Jsize/Jmtime/a32digest/a16tag/nlength', $payload, $at );
				$path  = substr( $payload, $at + 70, $entry['length'] );
				check( ! isset( $found[ $path ] ), "$path is listed once" );
				$found[ $path ] = trim( $entry['kind'] . $entry['reason'] );
				$GLOBALS['ids'][ "$root/$path" ] = Json_Object::base64url_encode( chr( array_search( $root, Wpclone\Migrator\Site_Roots::NAMES, true ) ) . $entry['tag'] . $path );
			}
		}
	} while ( null !== $cursor );
	return $found;
}

/** What an index says of these paths; null for those that it does not have. */
function said( array $entries, array $expected ): array {
	$found = array();
	foreach ( array_keys( $expected ) as $path ) {
		$found[ $path ] = $entries[ $path ] ?? null;
	}
	return $found;
}

/** The content of a file that was indexed; its status if it is not sent. */
function fetched( Test_Site $site, string $path ) {
	$got  = $site->request( 'files', array( 'files' => array( array( 'id' => $GLOBALS['ids'][ $path ] ) ) ) );
	$text = '';
	foreach ( $got->frames as list( $kind, $payload ) ) {
		if ( 'F' === $kind && 0 !== unpack( 'Nat/Cstate', $payload )['state'] ) {
			return unpack( 'Nat/Cstate', $payload )['state'];
		}
		$text .= 'D' === $kind ? $payload : '';
	}
	return $text;
}

/** Paths of a plugin's or theme's own code, and of uploads below the top, whose names look left over. */
const LOOK_LEFT_OVER = array( 'vendor/acme/cache/A.php', 'vendor/acme/upgrade/U.php', 'backups/B.php', 'backup/B.php', 'logs/L.php', 'updraft/x', 'wc-logs/x', 'upgrade-temp-backup/x.php', 'data/schema.sql', 'data/sample.log', 'data/error_log', 'data/dump.sql.gz', 'data/x.wpress', 'old.bak', 'a.zip', 'dist/.vite/manifest.json', 'object-cache.php', 'advanced-cache.php', 'db.php', 'debug.log' );

test(
	'names are a reason to leave a file out only at the top of content folders, and never inside of code',
	static function () use ( $site, $content, $tree ) {
		$everywhere = array_merge( LOOK_LEFT_OVER, array( 'templates/wp-config.php', 'templates/.env', 'wp-config.php' ) );
		foreach ( $everywhere as $path ) {
			put( "$content/plugins/vendor/$path" );
			put( "$content/themes/code/$path" );
			put( "$content/mu-plugins/code/$path" );
		}
		foreach ( LOOK_LEFT_OVER as $path ) {
			put( "$content/uploads/2024/$path" );
		}
		put( "$content/uploads/2024/cache/thumb.txt" );
		put( "$content/uploads/cache/thumb.txt" );
		foreach ( array( 'plugins' => 'vendor', 'content' => 'themes/code', 'mu-plugins' => 'code' ) as $root => $folder ) {
			$entries = entries( $site, $root );
			foreach ( $everywhere as $path ) {
				same( 'f', $entries[ "$folder/$path" ] ?? null, "$root: $folder/$path" );
			}
		}
		$uploads = entries( $site, 'uploads' );
		foreach ( LOOK_LEFT_OVER as $path ) {
			same( 'f', $uploads[ "2024/$path" ] ?? null, "uploads: 2024/$path" );
		}
		same( 'f', $uploads['cache/thumb.txt'] ?? null, 'pictures of a cache below uploads are content' );
		same( 'x', fetched( $site, 'plugins/vendor/templates/wp-config.php' ), 'a template is sent' );
		$left = array(
			'core'       => array( 'wp-config.php' => 'xs', 'wp-config.php.bak' => 'xs', '.htaccess' => 'xs', '.env' => 'xs', 'site.zip' => 'xb', 'site.sql' => 'xb', 'error_log' => 'xl', 'wp-admin/error_log' => 'xl', 'other' => 'xf' ),
			'content'    => array( 'cache' => 'xc', 'upgrade' => 'xc', 'updraft' => 'xb', 'debug.log' => 'xl', 'dump.sql' => 'xb', 'object-cache.php' => 'xi', 'wp-config.php' => 'xs', 'mine/wp-config.php' => 'xs', 'mine/.env' => 'xs', 'themes/code/.git' => 'xv', 'themes/code/.htpasswd' => 'xs', 'themes/code/.user.ini' => 'xs' ),
			'plugins'    => array( 'error_log' => 'xl', 'debug.log' => 'xl', '.env' => 'xs', 'vendor/.svn' => 'xv', 'wpclone-migrator' => 'xo' ),
			'mu-plugins' => array( 'wpclone-sandbox.php' => 'xo', 'error_log' => 'xl' ),
			'uploads'    => array( 'cache' => 'd', 'wc-logs' => 'xl', 'backups' => 'xb', 'a.log.1.gz' => 'xl', 'a.wpress' => 'xb', '2024/.htpasswd' => 'xs', 'old/wp-config.php' => 'xs' ),
		);
		$places = array( 'core' => $tree, 'content' => $content, 'plugins' => "$content/plugins", 'mu-plugins' => "$content/mu-plugins", 'uploads' => "$content/uploads" );
		foreach ( $left as $root => $expected ) {
			foreach ( $expected as $path => $reason ) {
				$full = "{$places[ $root ]}/$path";
				$is_folder = in_array( $reason, array( 'xc', 'xf', 'xo', 'xv' ), true ) || in_array( $path, array( 'updraft', 'backups', 'wc-logs' ), true );
				if ( $is_folder && '.php' !== substr( $path, -4 ) ) {
					put( "$full/x" );
				} elseif ( ! file_exists( $full ) ) {
					put( $full );
				}
			}
			$entries = entries( $site, $root );
			same( $expected, said( $entries, $expected ), $root );
		}
		array_map( 'unlink', array( "$content/object-cache.php", "$tree/.htaccess" ) );
	}
);

test(
	'links to folders and files are followed, in pages of any size, and ended where they lead back or to what is private',
	static function () use ( $site, $content, $tree, $shared ) {
		put( "$shared/theme/style.css", '/* Theme Name: Shared */' );
		put( "$shared/theme/wp-config.php", 'a template' );
		put( "$shared/plugin/plugin.php" );
		put( "$shared/must-use.php" );
		put( "$shared/2020/a.txt", 'linked' );
		put( "$shared/2020/cache/b.txt" );
		put( "$shared/site/wp-config.php", 'another WordPress' );
		put( "$shared/site/wp-load.php" );
		put( "$shared/home/.ssh/id_rsa" );
		put( "$shared/wp-config.php", 'another configuration' );
		for ( $i = 0; $i < 300; $i++ ) {
			put( "$shared/many/$i.txt" );
		}
		put( "$tree/beside/c.txt" );
		put( "$content/uploads/2019/d.txt" );
		// Two folders that lead to each other, and a chain.
		put( "$shared/one/x" );
		put( "$shared/two/x" );
		symlink( "$shared/two", "$shared/one/two" );
		symlink( "$shared/one", "$shared/two/one" );
		symlink( '.', "$shared/2020/itself" );
		for ( $i = 0; $i < 7; $i++ ) {
			put( "$shared/chain$i/x" );
			symlink( "$shared/chain" . ( $i + 1 ), "$shared/chain$i/next" );
		}
		put( "$shared/chain7/x" );
		$links = array(
			'themes/shared'          => "$shared/theme",
			'plugins/linked'         => "$shared/plugin",
			'mu-plugins/linked.php'  => "$shared/must-use.php",
			'uploads/2020'           => "$shared/2020",
			'uploads/twice'          => '2020',
			'uploads/alias'          => '2019',
			'uploads/many'           => "$shared/many",
			'uploads/beside'         => "$tree/beside",
			'uploads/one'            => "$shared/one",
			'uploads/chain'          => "$shared/chain0",
			'uploads/d.txt'          => '2019/d.txt',
			'plugins/site'           => "$shared/site",
			'uploads/up'             => '..',
			'uploads/itself'         => '.',
			'uploads/root'           => '/',
			'uploads/web'            => dirname( $tree ),
			'uploads/etc'            => '/etc',
			'uploads/passwd'         => '/etc/passwd',
			'uploads/proc'           => '/proc/self',
			'uploads/plugins'        => '../plugins',
			'uploads/config'         => "$tree/wp-config.php",
			'uploads/config2'        => "$shared/wp-config.php",
			'uploads/key'            => "$shared/home/.ssh",
			'uploads/id'             => "$shared/home/.ssh/id_rsa",
			'uploads/broken'         => 'nowhere',
			'uploads/round'          => 'round',
		);
		foreach ( $links as $path => $to ) {
			symlink( $to, "$content/$path" );
		}
		same( array( 'd', 'f', 'f' ), array_values( array_intersect_key( entries( $site, 'content' ), array( 'themes/shared' => 0, 'themes/shared/style.css' => 0, 'themes/shared/wp-config.php' => 0 ) ) ), 'a theme' );
		$plugins = entries( $site, 'plugins' );
		same( array( 'd', 'f' ), array( $plugins['linked'], $plugins['linked/plugin.php'] ), 'a plugin' );
		same( array( 'xs', 'f' ), array( $plugins['site/wp-config.php'], $plugins['site/wp-load.php'] ), 'the configuration of another WordPress' );
		same( 'f', entries( $site, 'mu-plugins' )['linked.php'], 'a must-use plugin' );
		$uploads  = entries( $site, 'uploads' );
		$expected = array(
			'2020' => 'd', '2020/a.txt' => 'f', '2020/cache/b.txt' => 'f', '2020/itself' => 'xk', 'twice/a.txt' => 'f', 'alias/d.txt' => 'f', 'many/299.txt' => 'f', 'beside/c.txt' => 'f', 'd.txt' => 'f',
			'one/x' => 'f', 'one/two/x' => 'f', 'one/two/one' => 'xk', 'chain/next/next/next/x' => 'f', 'chain/next/next/next/next' => 'xk',
			'up' => 'xk', 'itself' => 'xk', 'root' => 'xk', 'web' => 'xk', 'etc' => 'xk', 'passwd' => 'xk', 'proc' => 'xk', 'plugins' => 'xk', 'config' => 'xk', 'config2' => 'xk', 'key' => 'xk', 'id' => 'xk', 'broken' => 'xk', 'round' => 'xk',
		);
		same( $expected, said( $uploads, $expected ), 'uploads' );
		same( array(), preg_grep( '~^(?:up|itself|root|web|etc|proc|plugins|key)/~', array_keys( $uploads ) ), 'below links that are not followed' );
		same( $uploads, entries( $site, 'uploads', 16384 ), 'in small pages' );
		same( array( 'linked', 'linked' ), array( fetched( $site, 'uploads/2020/a.txt' ), fetched( $site, 'uploads/twice/a.txt' ) ), 'content' );
		// What was indexed may be replaced by a link.
		foreach ( array( '/etc', "$shared/home/.ssh", "$shared/site" ) as $to ) {
			put( "$shared/home/.ssh/a.txt" );
			unlink( "$content/uploads/2020" );
			symlink( $to, "$content/uploads/2020" );
			check( is_int( fetched( $site, 'uploads/2020/a.txt' ) ), "$to is not sent" );
		}
		unlink( "$content/uploads/2020" );
		symlink( "$tree/wp-config.php", "$content/uploads/2020" );
		check( is_int( fetched( $site, 'uploads/2020/a.txt' ) ), 'a file in place of a folder' );
		foreach ( $links as $path => $to ) {
			unlink( "$content/$path" );
		}
	}
);

test(
	'folders of the site that are links are exported as what they are, once',
	static function () use ( $site, $content, $shared ) {
		rename( "$content/uploads", "$shared/uploads" );
		symlink( "$shared/uploads", "$content/uploads" );
		$content_entries = entries( $site, 'content' );
		same( array(), preg_grep( '~^uploads~', array_keys( $content_entries ) ), 'not as a part of the content' );
		same( 'f', entries( $site, 'uploads' )['2019/d.txt'] ?? null, 'uploads' );
		$uploads = $site->request_ok( 'manifest' )['uploads'];
		same( array( "$content/uploads", false ), array( $uploads['dir'], $uploads['has_usual_dir'] ), 'manifest' );
		unlink( "$content/uploads" );
		rename( "$shared/uploads", "$content/uploads" );
	}
);

test(
	'a folder beside WordPress that leads to the uploads and has nothing else is no entry, and is excluded as such if it has more',
	static function () use ( $site, $tree, $shared ) {
		put( "$tree/assets/media/2024/a.txt" );
		update_option( 'upload_path', 'assets/media' );
		check( ! isset( entries( $site, 'core' )['assets'] ), 'nothing is left out' );
		same( 'f', entries( $site, 'uploads' )['2024/a.txt'] ?? null, 'uploads' );
		put( "$tree/assets/more.txt" );
		$core = entries( $site, 'core' );
		same( array( 'xr', array() ), array( $core['assets'] ?? null, preg_grep( '~^assets/~', array_keys( $core ) ) ), 'more than the uploads' );
		unlink( "$tree/assets/more.txt" );
		// The same if the uploads are a link, and if the folder is.
		rename( "$tree/assets/media", "$shared/media" );
		symlink( "$shared/media", "$tree/assets/media" );
		check( ! isset( entries( $site, 'core' )['assets'] ), 'a link to the uploads' );
		same( 'f', entries( $site, 'uploads' )['2024/a.txt'] ?? null, 'uploads behind a link' );
		put( "$tree/assets/more.txt" );
		same( 'xr', entries( $site, 'core' )['assets'] ?? null, 'more than a link' );
		unlink( "$tree/assets/more.txt" );
		rename( "$tree/assets", "$shared/assets" );
		symlink( "$shared/assets", "$tree/assets" );
		check( ! isset( entries( $site, 'core' )['assets'] ), 'a link to the folder' );
		unlink( "$tree/assets" );
		update_option( 'upload_path', '' );
	}
);

test(
	'uploads in two places are both exported, and the manifest says where they are and what is missing',
	static function () use ( $site, $content, $tree ) {
		foreach ( array( '2019/old.jpg' => "$content/uploads/2019/old.jpg", '2024/new.jpg' => "$tree/files/2024/new.jpg" ) as $path => $full ) {
			put( $full, $path );
		}
		foreach ( array( 1 => '2024/new.jpg', 2 => '2024/lost.jpg', 3 => "$content/uploads/2019/old.jpg", 4 => "$content/uploads/2019/gone.jpg" ) as $id => $file ) {
			add_post_meta( 1000 + $id, '_wp_attached_file', $file );
		}
		$usual = $site->request_ok( 'manifest' )['uploads'];
		same( array( "$content/uploads", false, '', '' ), array( $usual['dir'], $usual['has_usual_dir'], $usual['path_option'], $usual['url_option'] ), 'before' );
		same( array( '2024/new.jpg', '2024/lost.jpg', 'gone.jpg' ), $usual['missing'], 'missing before' );
		update_option( 'upload_path', 'files' );
		update_option( 'upload_url_path', 'http://real.invalid/media' );
		$manifest = $site->request_ok( 'manifest' );
		$moved    = $manifest['uploads'];
		same( array( "$tree/files", true, 'files', 'http://real.invalid/media' ), array( $moved['dir'], $moved['has_usual_dir'], $moved['path_option'], $moved['url_option'] ), 'after' );
		same( array( '2024/lost.jpg', 'gone.jpg' ), $moved['missing'], 'missing after' );
		same( array( 'http://real.invalid/media', $content ), array( $manifest['uploads_url'], $manifest['content_dir'] ), 'addresses' );
		same( 'f', entries( $site, 'content' )['uploads/2019/old.jpg'] ?? null, 'an old one' );
		same( 'f', entries( $site, 'uploads' )['2024/new.jpg'] ?? null, 'a new one' );
		update_option( 'upload_path', '' );
		update_option( 'upload_url_path', '' );
	}
);

test(
	'themes in folders that are in no root are named, and those in folders of the content are exported',
	static function () use ( $site, $content, $shared, $tree ) {
		$themes = static function () use ( $site ) {
			$wordpress = $site->request_ok( 'manifest' )['wordpress'];
			sort( $wordpress['omitted_themes'] );
			return array( $wordpress['omitted_themes'], $wordpress['missing_themes'] );
		};
		same( array( array(), array() ), $themes(), 'before' );
		foreach ( array( "$shared/themes/far", "$content/more-themes/near", "$tree/beside/next" ) as $folder ) {
			put( "$folder/style.css" );
		}
		put( "$shared/themes/no-theme/index.php" );
		$before = array( get_option( 'template' ), get_option( 'stylesheet' ) );
		set_site_transient(
			'theme_roots',
			array(
				'far'  => "$shared/themes",
				'near' => '/more-themes',
				'gone' => "$shared/gone",
				'none' => false,
			)
		);
		update_option( 'template_root', "$tree/beside" );
		same( array( array( 'far', 'next' ), array() ), $themes(), 'named' );
		same( 'f', entries( $site, 'content' )['more-themes/near/style.css'] ?? null, 'in the content' );
		update_option( 'template', 'far' );
		update_option( 'stylesheet', 'near' );
		same( array(), $themes()[1], 'not missing' );
		update_option( 'stylesheet', 'nowhere' );
		same( array( 'nowhere' ), $themes()[1], 'missing' );
		update_option( 'template', $before[0] );
		update_option( 'stylesheet', $before[1] );
		delete_option( 'template_root' );
		delete_site_transient( 'theme_roots' );
	}
);

test(
	'themes are exported where their folder is a link, unless it is one that is not followed',
	static function () use ( $site, $content, $shared ) {
		$left = static function () use ( $site ) {
			return $site->request_ok( 'manifest' )['wordpress']['omitted_themes'];
		};
		$links = array(
			'themes'        => "$shared/all-themes",
			'linked-themes' => "$shared/deployed-themes",
			'secret-themes' => "$shared/home/.config/themes",
		);
		put( "$shared/deployed-themes/deployed/style.css" );
		put( "$shared/home/.config/themes/secret/style.css" );
		rename( "$content/themes", $links['themes'] );
		foreach ( $links as $name => $to ) {
			symlink( $to, "$content/$name" );
		}
		put( "$content/themes/linked/style.css" );
		set_site_transient(
			'theme_roots',
			array(
				'linked'   => '/themes',
				'deployed' => "$content/linked-themes",
				'same'     => "$shared/deployed-themes",
			)
		);
		same( array(), $left(), 'links that are followed' );
		$expected = array( 'themes/linked/style.css' => 'f', 'linked-themes/deployed/style.css' => 'f', 'secret-themes' => 'xk' );
		same( $expected, said( entries( $site, 'content' ), $expected ), 'content' );
		set_site_transient( 'theme_roots', array( 'secret' => '/secret-themes' ) );
		same( array( 'secret' ), $left(), 'a link that is not followed' );
		delete_site_transient( 'theme_roots' );
		foreach ( $links as $name => $to ) {
			unlink( "$content/$name" );
		}
		rename( $links['themes'], "$content/themes" );
	}
);

test(
	'the manifest has the constants of wp-config.php and the names of those that stay, and how the database is read',
	static function () use ( $site ) {
		$wordpress = $site->request_ok( 'manifest' )['wordpress'];
		foreach ( CONSTANTS as $name => list( , $value, $reason ) ) {
			if ( null === $reason ) {
				same( $value, $wordpress['constants'][ $name ] ?? null, $name );
				check( ! isset( $wordpress['omitted_constants'][ $name ] ), $name );
			} else {
				same( $reason, $wordpress['omitted_constants'][ $name ] ?? null, $name );
				check( ! isset( $wordpress['constants'][ $name ] ), $name );
			}
		}
		same( array( 'here', 'const' ), array( $wordpress['constants']['EXAMPLE_FROM_BOOTSTRAP'], $wordpress['constants']['EXAMPLE_CONST'] ), 'of other files' );
		$all = $wordpress['constants'] + $wordpress['omitted_constants'];
		same( array(), array_intersect( array( 'ABSPATH', 'WPINC', 'WP_CONTENT_DIR', 'COOKIEHASH', 'OBJECT' ), array_keys( $all ) ), 'WordPress\' own' );
		same( 'secret', $wordpress['omitted_constants']['DB_PASSWORD'], 'the login of the database' );
		same( array( 'utf8mb4', 'utf8mb4' ), array( $wordpress['charset'], $wordpress['connection'] ), 'character set' );
	}
);
