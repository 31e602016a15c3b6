<?php
/**
 * What the plugin's sources must not have, as PHP itself reads them.
 */

require __DIR__ . '/load.php';

/** Functions that run programs, make objects or code out of text, or fetch. */
const NEVER = array(
	'exec', 'shell_exec', 'system', 'passthru', 'proc_open', 'popen', 'pcntl_exec', 'pcntl_fork', 'mail', 'wp_mail', 'dl',
	'unserialize', 'maybe_unserialize', 'create_function', 'assert', 'extract', 'parse_str', 'eval', 'call_user_func', 'call_user_func_array',
	'fsockopen', 'pfsockopen', 'stream_socket_client', 'socket_connect', 'curl_init', 'curl_exec', 'copy',
	'wp_remote_get', 'wp_remote_post', 'wp_remote_head', 'wp_remote_request', 'wp_safe_remote_get', 'wp_safe_remote_post', 'wp_safe_remote_request', 'download_url', 'move_uploaded_file',
	'symlink', 'link', 'phpinfo', 'var_dump', 'print_r',
);

/** Classes and functions for archives, which a host may lack; they name files that they write, too. */
const NEVER_ARCHIVES = array( 'ziparchive', 'pclzip', 'zip_open', 'unzip_file', 'phar', 'phardata', 'gzopen', 'gzdecode', 'gzencode' );

/** File → its tokens without space and comments: kind (or the sign itself), text, line. */
function sources(): array {
	check( function_exists( 'token_get_all' ), "PHP's extension tokenizer is needed" );
	$folder = __DIR__ . '/../wpclone-migrator';
	$all    = array();
	foreach ( array_merge( glob( "$folder/*.php" ), glob( "$folder/includes/*.php" ), glob( "$folder/includes/*/*.php" ) ) as $file ) {
		$line = 1;
		foreach ( token_get_all( file_get_contents( $file ) ) as $token ) {
			list( $kind, $text, $line ) = is_array( $token ) ? $token : array( $token, $token, $line );
			if ( ! in_array( $kind, array( T_WHITESPACE, T_COMMENT, T_DOC_COMMENT, T_OPEN_TAG ), true ) ) {
				$all[ basename( $file ) ][] = array( $kind, $text, $line );
			}
		}
	}
	check( count( $all ) > 20, 'sources' );
	return $all;
}

test(
	'nothing is run, made up at run time, or included but by a fixed name',
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
	'no function is called that runs programs, makes objects out of text, or fetches',
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
	'no archive is made or opened, nor asked for by its name',
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
	'each file ends where WordPress did not load it',
	static function () {
		foreach ( sources() as $file => $tokens ) {
			$begin = implode( ' ', array_column( array_slice( $tokens, 0, 24 ), 1 ) );
			check( 1 === preg_match( "/if \\( ! defined \\( 'ABSPATH' \\) (\\|\\| ! defined \\( 'WP_UNINSTALL_PLUGIN' \\) )?\\) \\{ exit ;/", $begin ), "$file: $begin" );
		}
	}
);
