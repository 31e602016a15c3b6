<?php
/**
 * Tables without the site's prefix: named always, read and imported only if a client asks for them, and never those of another
 * WordPress installation. Folders beside WordPress that only lead to the uploads.
 */

require __DIR__ . '/../support/harness.php';
require __DIR__ . '/../support/site-bootstrap.php';

$site->load_plugin();
$site->sql( 'CREATE TABLE crm_people (id INT PRIMARY KEY, name VARCHAR(20))' );
$site->sql( "INSERT INTO crm_people VALUES (1, 'x'), (2, 'y')" );
$site->sql( 'CREATE VIEW crm_names AS SELECT name FROM crm_people' );
foreach ( array( 'options', 'posts', 'postmeta', 'terms' ) as $table ) {
	$site->sql( "CREATE TABLE blog_$table (id INT PRIMARY KEY)" );
}
$site->sql( 'CREATE TABLE blog_secrets (id INT PRIMARY KEY)' );

test(
	'tables without the prefix are named, those of another installation by its prefix',
	static function () use ( $site ) {
		$manifest = $site->request_ok( 'manifest' );
		same( array( 'crm_names', 'crm_people' ), $manifest['unprefixed_tables'], 'names' );
		same( 2, $manifest['unprefixed_count'], 'count' );
		same( array( 'blog_' ), $manifest['other_prefixes'], 'other installations' );
	}
);

test(
	'they are read only on request, and those of another installation never',
	static function () use ( $site ) {
		check( ! isset( definitions( $site )['table crm_people'] ), 'not listed' );
		same( 'gone', $site->request_error( 'rows', array( 'table' => 'crm_people' ) )['error'], 'not read' );
		$with  = array( 'unprefixed' => true );
		$names = array();
		foreach ( $site->request( 'definitions', $with + array( 'bytes' => 1048576 ) )->frames as list( $kind, $payload ) ) {
			$names[] = 'T' === $kind ? json_decode( $payload, true )['name'] : '';
		}
		check( in_array( 'crm_people', $names, true ) && in_array( 'crm_names', $names, true ) && in_array( 'wp_posts', $names, true ), implode( ' ', $names ) );
		same( array(), preg_grep( '/\A(?:blog|wp_wpclone)_/', $names ), 'other installations, and our own' );
		same( 2, $site->request( 'rows', $with + array( 'table' => 'crm_people' ) )->json['rows'], 'rows' );
		same( 2, $site->request_ok( 'checksum', $with + array( 'table' => 'crm_people' ) )['rows'], 'counted' );
		foreach ( array( 'blog_options', 'blog_secrets', 'wp_wpclone_migrator', 'mysql.user' ) as $table ) {
			same( 'gone', $site->request_error( 'rows', $with + array( 'table' => $table ) )['error'], $table );
		}
	}
);

test(
	'they are imported only if the job allows it, replace nothing that must be kept, and take the name of no other installation',
	static function () use ( $site ) {
		$with       = array( 'unprefixed' => true, 'bytes' => 1048576 );
		$definition = null;
		foreach ( $site->request( 'definitions', $with )->frames as list( $kind, $payload ) ) {
			$found = json_decode( $payload, true );
			if ( 'T' === $kind && 'crm_people' === $found['name'] ) {
				$definition = $found;
			}
		}
		$named = static function ( string $name ) use ( $definition ): array {
			return array( 'name' => $name ) + $definition;
		};
		foreach ( array( array( true, false ), array( true, true ), array( false, true ) ) as list( $reversible, $allowed ) ) {
			$job = random_job();
			$site->request_ok( 'begin', array( 'job' => $job, 'reversible' => $reversible, 'allow' => $allowed ? array( 'unprefixed_tables' ) : array() ) );
			$accepts = static function ( string $name ) use ( $site, $job, $named ): bool {
				$answer = $site->request( 'define', array( 'job' => $job, 'definition' => $named( $name ) ) );
				return 200 === $answer->status;
			};
			same( $allowed, $accepts( 'crm_new' ), "a new one, $reversible $allowed" );
			same( $allowed && ! $reversible, $accepts( 'crm_people' ), "one that is there, $reversible $allowed" );
			foreach ( array( 'blog_new', 'blog_options', 'WP_new', 'wp_wpclone_x' ) as $name ) {
				check( ! $accepts( $name ), $name );
			}
			$site->until_done( 'abort', array( 'job' => $job ) );
		}
		same( '2', $site->value( 'SELECT COUNT(*) FROM crm_people' ), 'the rows of the one that is there' );
	}
);

test(
	'a folder beside WordPress is left out, unless it only leads to another root',
	static function () use ( $site ) {
		$real = realpath( $site->path );
		mkdir( "$real/media/uploads", 0777, true );
		file_put_contents( "$real/media/uploads/a.txt", 'a' );
		add_filter(
			'upload_dir',
			static function ( array $dir ) use ( $real ): array {
				return array( 'basedir' => "$real/media/uploads" ) + $dir;
			}
		);
		$reason = static function () use ( $site ): ?string {
			foreach ( $site->request( 'index', array( 'root' => 'core', 'bytes' => 8388608, 'ms' => 60000 ) )->frames as list( $kind, $payload ) ) {
				for ( $at = 0; 'I' === $kind && $at < strlen( $payload ); $at += 70 + $size ) {
					$size = unpack( 'n', $payload, $at + 68 )[1];
					if ( 'media' === substr( $payload, $at + 70, $size ) ) {
						return $payload[ $at ] . $payload[ $at + 1 ];
					}
				}
			}
			return null;
		};
		same( null, $reason(), 'nothing else is in it' );
		file_put_contents( "$real/media/other.txt", 'b' );
		same( 'xr', $reason(), 'something else is in it' );
	}
);
