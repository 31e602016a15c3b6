<?php
/**
 * Rules for the plugin's sources, checked on PHP's own tokens.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

/** Functions that run programs, create objects or code from strings, or send requests. */
const NEVER = array(
	'exec', 'shell_exec', 'system', 'passthru', 'proc_open', 'popen', 'pcntl_exec', 'pcntl_fork', 'mail', 'wp_mail', 'dl',
	'unserialize', 'maybe_unserialize', 'create_function', 'assert', 'extract', 'parse_str', 'eval', 'call_user_func', 'call_user_func_array',
	'fsockopen', 'pfsockopen', 'stream_socket_client', 'socket_connect', 'curl_init', 'curl_exec', 'copy',
	'wp_remote_get', 'wp_remote_post', 'wp_remote_head', 'wp_remote_request', 'wp_safe_remote_get', 'wp_safe_remote_post', 'wp_safe_remote_request', 'download_url', 'move_uploaded_file',
	'symlink', 'link', 'phpinfo', 'var_dump', 'print_r',
);

/** Classes and functions for archives, which a host may lack; they name files that they write, too. */
const NEVER_ARCHIVES = array( 'ziparchive', 'pclzip', 'zip_open', 'unzip_file', 'phar', 'phardata', 'gzopen', 'gzdecode', 'gzencode' );

/** File => its tokens without whitespace and comments: kind (or the character itself), text, line. */
function sources(): array {
	check( function_exists( 'token_get_all' ), "PHP's extension tokenizer is needed" );
	$folder = __DIR__ . '/../../wpclone-migrator';
	$all    = array();
	foreach ( array_merge( glob( "$folder/*.php" ), glob( "$folder/includes/*.php" ), glob( "$folder/includes/*/*.php" ) ) as $file ) {
		$line = 1;
		foreach ( token_get_all( file_get_contents( $file ) ) as $token ) {
			list( $kind, $text, $line ) = is_array( $token ) ? $token : array( $token, $token, $line );
			if ( ! in_array( $kind, array( T_WHITESPACE, T_COMMENT, T_DOC_COMMENT, T_OPEN_TAG ), true ) ) {
				$all[ substr( $file, strlen( "$folder/" ) ) ][] = array( $kind, $text, $line );
			}
		}
	}
	check( count( $all ) > 20, 'sources' );
	return $all;
}

test(
	'nothing is executed, generated at run time, or included except by a constant name',
	static function () {
		foreach ( sources() as $file => $tokens ) {
			foreach ( $tokens as $i => list( $kind, $text, $line ) ) {
				check( ! in_array( $kind, array( '`', T_EVAL, T_INCLUDE, T_INCLUDE_ONCE, T_REQUIRE, T_GOTO, T_HALT_COMPILER ), true ), "$file:$line $text" );
				if ( T_REQUIRE_ONCE === $kind ) {
					$named = array();
					for ( $at = $i + 1; ';' !== $tokens[ $at ][0]; $at++ ) {
						$named[] = $tokens[ $at ];
					}
					$kinds = array_column( $named, 0 );
					check( array_slice( $kinds, -2 ) === array( '.', T_CONSTANT_ENCAPSED_STRING ), "$file:$line a name that is not fixed" );
					check( array( T_DIR ) === array_slice( $kinds, 0, -2 ) || array( 'ABSPATH' ) === array_column( array_slice( $named, 0, -2 ), 1 ), "$file:$line a folder of others" );
				}
			}
		}
	}
);

test(
	'no function is called that runs programs, creates objects from strings, or sends requests',
	static function () {
		$called = 0;
		foreach ( sources() as $file => $tokens ) {
			foreach ( $tokens as $i => list( $kind, $text, $line ) ) {
				$is_call   = '(' === ( $tokens[ $i + 1 ][0] ?? null );
				$is_method = in_array( $tokens[ $i - 1 ][0] ?? null, array( T_OBJECT_OPERATOR, T_DOUBLE_COLON, T_FUNCTION, T_NEW ), true );
				if ( ! $is_call || $is_method || T_VARIABLE === $kind ) {
					continue;
				}
				$name    = strtolower( ltrim( $text, '\\' ) );
				$called += 'hash_equals' === $name ? 1 : 0;
				check( ! in_array( $name, NEVER, true ), "$file:$line calls $name" );
			}
		}
		check( $called > 0, 'calls are seen' );
	}
);

test(
	'archives are neither created nor opened, nor mentioned by name',
	static function () {
		$seen = 0;
		foreach ( sources() as $file => $tokens ) {
			foreach ( $tokens as list( , $text, $line ) ) {
				$name  = strtolower( trim( strrchr( "\\$text", '\\' ), '\\\'"' ) );
				$seen += 'splheap' === $name ? 1 : 0;
				check( ! in_array( $name, NEVER_ARCHIVES, true ), "$file:$line has $text" );
			}
		}
		check( $seen > 0, 'names are seen' );
	}
);

test(
	'every file exits when it is not loaded by WordPress',
	static function () {
		foreach ( sources() as $file => $tokens ) {
			$begin = implode( ' ', array_column( array_slice( $tokens, 0, 24 ), 1 ) );
			check( 1 === preg_match( "/if \\( ! defined \\( 'ABSPATH' \\) (\\|\\| ! defined \\( 'WP_UNINSTALL_PLUGIN' \\) )?\\) \\{ exit ;/", $begin ), "$file: $begin" );
		}
	}
);

test(
	'each folder uses only those that load.php loads before it, and import does not use export',
	static function () {
		$sources = sources();
		$folders = array( 'protocol', 'access', 'site', 'export', 'import', 'api', 'admin' );
		$of      = array();
		foreach ( $sources as $file => $tokens ) {
			foreach ( $tokens as $i => list( $kind ) ) {
				if ( T_CLASS === $kind && T_STRING === ( $tokens[ $i + 1 ][0] ?? null ) ) {
					$of[ $tokens[ $i + 1 ][1] ] = basename( dirname( $file ) );
				}
			}
		}
		same( array(), array_diff( array_unique( array_values( $of ) ), $folders ), 'folders' );
		foreach ( $sources as $file => $tokens ) {
			$folder = array_search( basename( dirname( $file ) ), $folders, true );
			foreach ( false === $folder ? array() : $tokens as list( $kind, $text, $line ) ) {
				if ( T_STRING === $kind && isset( $of[ $text ] ) ) {
					check( array_search( $of[ $text ], $folders, true ) <= $folder, "$file:$line uses $text" );
					check( 'import' !== $folders[ $folder ] || 'export' !== $of[ $text ], "$file:$line uses $text" );
				}
			}
		}
		$loaded = array_column( array_filter( $sources['includes/load.php'], static function ( $token ) { return T_CONSTANT_ENCAPSED_STRING === $token[0] && false !== strpos( $token[1], '/class-' ); } ), 1 );
		$order  = array_map( static function ( $file ) use ( $folders ) { return array_search( basename( dirname( trim( $file, "'" ) ) ), $folders, true ); }, $loaded );
		$sorted = $order;
		sort( $sorted );
		same( $sorted, $order, 'order in load.php' );
	}
);
