<?php
/**
 * File imports: parts in any order and repeated, malicious paths, full disks.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';
require __DIR__ . '/../support/file-helpers.php';

use Wpclone\Migrator\Site_Roots;

$site->load_plugin();

/** Stores parts; returns the response. */
function store_files( Test_Site $site, string $job, array $frames ): array {
	return $site->request_ok( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), $frames ) );
}

/** The folder where new files of a root are staged. */
function staging_folder( Test_Site $site, int $root ): string {
	$places = json_decode( $site->value( 'SELECT settings FROM wp_wpclone_import_job' ), true )['staging_paths'];
	return $places[ Site_Roots::NAMES[ $root ] ] . '/new/' . Site_Roots::NAMES[ $root ];
}

const ALL = array( 'core', 'content', 'plugins', 'mu-plugins', 'uploads' );

test(
	'parts are written to their offsets, in any number and repeatedly; the last one sets size, time and mode',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => ALL ) );
		$file = staging_folder( $site, 4 ) . '/a/b.bin';
		$result = store_files( $site, $job, array( frame_f( 4, 'a/b.bin', 10, 0 ), array( 'D', 'ab' ), array( 'D', 'cd' ) ) );
		same( array( 'stored' => 1, 'rejected' => array() ), $result, 'first' );
		$gap = $site->request_error( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), array( frame_f( 4, 'a/b.bin', 10, 2, 6 ), array( 'D', 'ghij' ) ) ) );
		same( array( 409, 'offset_gap', 4 ), array( $gap['status'], $gap['error'], $gap['size'] ), 'gap' );
		store_files( $site, $job, array( frame_f( 4, 'a/b.bin', 10, 0, 4 ), array( 'D', 'ef' ) ) );
		store_files( $site, $job, array( frame_f( 4, 'a/b.bin', 10, 2, 6, 0604, 1234567890 ), array( 'D', 'ghij' ), frame_f( 4, 'empty', 0 ), frame_f( 4, 'c', 0, 1, 0, 0500 ), frame_f( 4, 'a/wide', 1, 2, 0, 07777 ), array( 'D', 'x' ) ) );
		store_files( $site, $job, array( frame_f( 4, 'a/b.bin', 10, 0 ), array( 'D', 'abcd' ) ) );
		clearstatcache();
		same( 'abcdefghij', file_get_contents( $file ), 'bytes' );
		store_files( $site, $job, array( frame_f( 4, 'a/b.bin', 10, 2, 6, 0604, 1234567890 ), array( 'D', 'ghij' ) ) );
		clearstatcache();
		same( array( 1234567890, 0604 ), array( filemtime( $file ), fileperms( $file ) & 07777 ), 'time and mode' );
		same( array( 0, 0775, 0700 ), array( filesize( dirname( $file, 2 ) . '/empty' ), fileperms( dirname( $file ) . '/wide' ) & 07777, fileperms( dirname( $file, 2 ) . '/c' ) & 07777 ), 'the others' );
		store_files( $site, $job, array( frame_f( 4, 'a/b.bin', 3 ), array( 'D', 'xyz' ) ) );
		clearstatcache();
		same( 'xyz', file_get_contents( $file ), 'a shorter one' );
		store_files( $site, $job, array( frame_f( 4, 'a/b.bin', 10, 4 ), frame_f( 4, 'a/never.bin', 10, 4 ) ) );
		clearstatcache();
		check( ! file_exists( $file ) && is_dir( dirname( $file ) ), 'the source has it no more' );
		same( 'bad_request', $site->request_error( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), array( frame_f( 4, 'a/b.bin', 10, 4 ), array( 'D', 'x' ) ) ) )['error'], 'bytes of what is gone' );
		same( 'bad_request', $site->request_error( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), array( frame_f( 4, 'long', 3 ), array( 'D', 'too long' ) ) ) )['error'], 'more bytes than it has' );
		same( 'offset_gap', $site->request_error( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), array( frame_f( 4, 'short', 3 ), array( 'D', 'x' ) ) ) )['error'], 'fewer bytes than it has' );
		same( 'bad_request', $site->request_error( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), array( array( 'D', 'x' ) ) ) )['error'], 'bytes of nothing' );
		same( 'bad_request', $site->request_error( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), array( frame_f( 4, 'd', 3, 1 ), array( 'D', 'x' ) ) ) )['error'], 'bytes of a folder' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		same( array(), $site->staging_folders(), 'folders' );
	}
);

test(
	'malicious paths and special names are rejected one by one, and the other files are stored',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => ALL ) );
		$cases = array(
			'path' => array(
				array( 4, '../x' ), array( 4, 'a/../../x' ), array( 4, '..' ), array( 4, '.' ), array( 4, 'a/./b' ), array( 4, '/etc/passwd' ), array( 4, 'a//b' ), array( 4, 'a/' ),
				array( 4, "a\0b.php" ), array( 4, "a\nb" ), array( 4, "a\x7fb" ), array( 4, 'a\\b' ), array( 4, '..\\..\\x' ), array( 4, 'C:\\x' ), array( 4, str_repeat( 'x', 256 ) ), array( 4, str_repeat( 'a/', 41 ) . 'b' ),
				array( 4, str_repeat( str_repeat( 'x', 99 ) . '/', 8 ) . 'b' ), array( 0, 'wp-config.php' ), array( 0, 'wp-content/x' ), array( 0, 'other/x' ), array( 0, '.htaccess' ), array( 1, 'object-cache.php' ), array( 1, 'plugins/x.php' ),
				array( 1, 'uploads/x' ), array( 1, 'uploads' ), array( 1, 'mu-plugins/x.php' ), array( 2, 'wpclone-migrator/wpclone-migrator.php' ), array( 3, 'wpclone-sandbox.php' ), array( 3, 'WPCLONE-sandbox.php' ), array( 1, 'cache/x' ), array( 4, '.git/config' ), array( 2, 'x/.user.ini' ),
				array( 1, 'wpclone-0123456789abcdef0123456789abcdef/x' ), array( 4, 'wpclone-0123456789abcdef0123456789abcdef/x' ),
			),
			'php'  => array( array( 4, 'x.php' ), array( 4, 'a/x.PHP' ), array( 4, 'x.php.jpg' ), array( 4, 'x.phtml' ), array( 4, 'x.pHp5' ), array( 4, 'x.phar' ), array( 4, '.htaccess' ), array( 4, 'a/web.config' ), array( 4, 'x.cgi' ), array( 4, 'x.shtml' ), array( 4, '.php' ), array( 4, 'x.php.' ) ),
			'root' => array( array( 5, 'x' ), array( 255, 'x' ) ),
		);
		$frames = array();
		foreach ( $cases as $of ) {
			foreach ( $of as list( $root, $path ) ) {
				$frames[] = frame_f( $root, $path, 1 );
				$frames[] = array( 'D', 'x' );
			}
		}
		$good = array( array( 4, 'x.jpg' ), array( 4, "\u{1F600} \u{e9}\xff.txt" ), array( 4, 'a..b/...' ), array( 4, 'phpinfo.txt' ), array( 2, 'x/x.php' ), array( 0, 'wp-admin/x.php' ), array( 0, 'index.php' ), array( 1, 'themes/x/style.css' ), array( 3, 'x.php' ), array( 4, '-rf' ), array( 4, '~' ), array( 4, str_repeat( 'x', 255 ) ) );
		foreach ( $good as list( $root, $path ) ) {
			$frames[] = frame_f( $root, $path, 1 );
			$frames[] = array( 'D', 'x' );
		}
		$result = store_files( $site, $job, $frames );
		$got  = array();
		foreach ( $result['rejected'] as $refused ) {
			$got[] = array( $refused['field'], base64_decode( $refused['path'] ) );
		}
		$expected = array();
		foreach ( $cases as $field => $of ) {
			foreach ( $of as list( , $path ) ) {
				$expected[] = array( $field, $path );
			}
		}
		foreach ( $expected as $i => $one ) {
			same( $one, $got[ $i ] ?? null, "refusal $i" );
		}
		same( array( count( $expected ), count( $good ) ), array( count( $got ), $result['stored'] ), 'refused and stored' );
		foreach ( $good as list( $root, $path ) ) {
			same( 'x', file_get_contents( staging_folder( $site, $root ) . "/$path" ), $path );
		}
		$site->until_done( 'abort', array( 'job' => $job ) );
		same( array(), $site->staging_folders(), 'folders' );
	}
);

test(
	'the sandbox plugin is stored if that is allowed, and nothing else with a similar name',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => ALL, 'allow' => array( 'sandbox_plugin' ) ) );
		$frames = array( frame_f( 3, 'wpclone-sandbox.php', 1 ), array( 'D', 'x' ) );
		same( array( 'stored' => 1, 'rejected' => array() ), store_files( $site, $job, $frames ), 'stored' );
		foreach ( array( array( 3, 'WPCLONE-sandbox.php' ), array( 3, 'wpclone-sandbox.php/x' ), array( 3, 'wpclone-other.php' ), array( 1, 'mu-plugins/wpclone-sandbox.php' ) ) as list( $root, $path ) ) {
			same( 1, count( store_files( $site, $job, array( frame_f( $root, $path, 1 ), array( 'D', 'x' ) ) )['rejected'] ), $path );
		}
		same( 1, count( store_files( $site, $job, array( frame_f( 3, 'wpclone-sandbox.php', 0, 1 ) ) )['rejected'] ), 'a folder' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'links placed into the staging folder are not followed; a root that the job does not have is rejected',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ), 'allow' => array( 'php_in_uploads' ) ) );
		$folder = staging_folder( $site, 4 );
		chmod( dirname( $folder, 2 ), 0700 );
		mkdir( "{$site->server->folder}/outside" );
		symlink( "{$site->server->folder}/outside", "$folder/link" );
		symlink( "{$site->server->folder}/outside/file", "$folder/file" );
		$result = store_files( $site, $job, array( frame_f( 4, 'link/x', 1 ), array( 'D', 'x' ), frame_f( 4, 'file', 1 ), array( 'D', 'x' ), frame_f( 4, 'link', 0, 1 ), frame_f( 2, 'x.php', 1 ), array( 'D', 'x' ), frame_f( 4, 'allowed.php', 1 ), array( 'D', 'x' ), frame_f( 4, 'allowed.php/x', 1 ), array( 'D', 'x' ) ) );
		same( array( 'path', 'path', 'path', 'root', 'path' ), array_column( $result['rejected'], 'field' ), 'refused' );
		same( 1, $result['stored'], 'stored' );
		same( array( '.', '..' ), scandir( "{$site->server->folder}/outside" ), 'outside' );
		$site->until_done( 'abort', array( 'job' => $job ) );
		check( is_dir( "{$site->server->folder}/outside" ), 'what a link led to is not removed with it' );
		rmdir( "{$site->server->folder}/outside" );
	}
);

test(
	'if nothing can be written above the web root, files are staged below it, inaccessible and denied',
	static function () use ( $site ) {
		$job = random_job();
		$_SERVER['DOCUMENT_ROOT'] = '/';
		try {
			$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
			store_files( $site, $job, array( frame_f( 4, 'x', 1 ), array( 'D', 'x' ) ) );
			$folders = glob( "{$site->path}/wp-content/wpclone-*" );
			same( 1, count( $folders ), 'folder' );
			same( 0, fileperms( $folders[0] ) & 0777, 'closed' );
			check( is_file( "{$folders[0]}/.htaccess" ), 'denied' );
			$site->until_done( 'abort', array( 'job' => $job ) );
			same( array(), $site->staging_folders(), 'gone' );
		} finally {
			$_SERVER['DOCUMENT_ROOT'] = $site->path;
		}
	}
);

test(
	'concurrent requests do not close the staging folder on each other',
	static function () use ( $site ) {
		$job = random_job();
		$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
		for ( $round = 0; $round < 5; $round++ ) {
			$started = array();
			for ( $i = 0; $i < 4; $i++ ) {
				$frames = array();
				for ( $j = 0; $j < 50; $j++ ) {
					array_push( $frames, frame_f( 4, "$round/$j/$i", 1 ), array( 'D', 'x' ) );
				}
				$started[] = $site->send( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), $frames ) );
			}
			foreach ( $started as $one ) {
				$got = $site->await( $one );
				check( 200 === $got->status && 50 === $got->json['stored'], $got->body );
			}
		}
		same( 0, fileperms( $site->staging_folders()[0] ) & 0777, 'closed after the last' );
		$site->until_done( 'abort', array( 'job' => $job ) );
	}
);

test(
	'a full disk is reported, and the import continues when there is space; a root on its own disk is staged there',
	static function () use ( $site ) {
		$uploads = "{$site->path}/wp-content/uploads";
		is_dir( $uploads ) || mkdir( $uploads );
		exec( 'mount -t tmpfs -o size=600k tmpfs ' . escapeshellarg( $uploads ) . ' 2>&1', $out, $code );
		if ( 0 !== $code ) {
			echo "SKIPPED: nothing can be mounted here\n";
			return;
		}
		try {
			$job = random_job();
			$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'uploads' ) ) );
			same( 1, count( glob( "$uploads/wpclone-*" ) ), 'on its own disk' );
			$bytes  = str_repeat( 'x', 400000 );
			$frames = array( frame_f( 4, 'one', 400000 ), array( 'D', $bytes ), frame_f( 4, 'two', 400000 ), array( 'D', $bytes ) );
			$wrong  = $site->request_error( 'store-files', Test_Site::encode_frames( array( 'job' => $job ), $frames ) );
			same( array( 507, 'no_space' ), array( $wrong['status'], $wrong['error'] ), 'full' );
			exec( 'mount -o remount,size=2m ' . escapeshellarg( $uploads ) );
			same( 2, store_files( $site, $job, $frames )['stored'], 'stored' );
			$site->until_done( 'prepare', array( 'job' => $job ) );
			$site->until_done( 'swap', array( 'job' => $job ) );
			same( 400000, filesize( "$uploads/two" ), 'swapped' );
			$site->until_done( 'commit', array( 'job' => $job ) );
			same( array( '.', '..', 'one', 'two' ), scandir( $uploads ), 'uploads' );
		} finally {
			exec( 'umount ' . escapeshellarg( $uploads ) );
		}
	}
);

test(
	'the contents of a folder that cannot be renamed, as in a container image, are swapped one by one',
	static function () use ( $site ) {
		$top = "{$site->server->folder}/overlay";
		$web = "{$site->path}/wp-content/plugins/theirs";
		foreach ( array( "$top/low/in/deep", "$top/up", "$top/work", $web, "$top/low/only" ) as $folder ) {
			mkdir( $folder, 0755, true );
		}
		file_put_contents( "$top/low/in/deep/a.txt", 'old' );
		file_put_contents( "$top/low/in/b.txt", 'old' );
		file_put_contents( "$top/low/only/c.txt", 'old' );
		rmdir( $web );
		$plugins = "{$site->path}/wp-content/plugins";
		rename( $plugins, "$top/plugins" );
		mkdir( $plugins );
		exec( "cp -a $top/plugins/. $top/low/ && mount -t overlay overlay -o lowerdir=$top/low,upperdir=$top/up,workdir=$top/work,redirect_dir=off $plugins 2>&1", $out, $code );
		if ( 0 !== $code ) {
			rmdir( $plugins );
			rename( "$top/plugins", $plugins );
			echo "SKIPPED: no overlay can be mounted here\n";
			return;
		}
		try {
			$job = random_job();
			$site->request_ok( 'begin', array( 'job' => $job, 'roots' => array( 'plugins' ) ) );
			same( 1, count( glob( "$plugins/wpclone-????????????????????????????????" ) ), 'in the root itself' );
			store_files( $site, $job, array( frame_f( 2, 'in/deep/a.txt', 3 ), array( 'D', 'new' ), frame_f( 2, 'in/fresh/d.txt', 3 ), array( 'D', 'new' ) ) );
			$site->until_done( 'prepare', array( 'job' => $job ) );
			$list = static function () use ( $plugins ) {
				return explode( "\n", trim( shell_exec( "cd $plugins && find . -path './wpclone-*' -prune -o -type f -printf '%p ' -exec cat {} \\; -printf '\\n' | sort" ) ) );
			};
			$old = $list();
			for ( $round = 0; $round < 12; $round++ ) {
				// Killed at some of the steps, which here are more than the journal had at first.
				$site->request( 'swap', array( 'job' => $job ), 0 === $round ? 0 : 5 * $round );
				$site->until_done( 'swap', array( 'job' => $job ) );
				same( array( './in/deep/a.txt new', './in/fresh/d.txt new' ), $list(), 'swapped' );
				check( ! file_exists( "$plugins/only" ), 'a folder that did not come is gone' );
				$site->request( 'rollback', array( 'job' => $job ), 0 === $round ? 0 : 3 * $round );
				$site->until_done( 'rollback', array( 'job' => $job ) );
				same( $old, $list(), 'rolled back' );
			}
			$site->until_done( 'swap', array( 'job' => $job ) );
			$site->until_done( 'commit', array( 'job' => $job ) );
			same( array( './in/deep/a.txt new', './in/fresh/d.txt new' ), $list(), 'forgotten' );
		} finally {
			exec( "umount $plugins" );
			rmdir( $plugins );
			rename( "$top/plugins", $plugins );
		}
	}
);
