<?php
/**
 * What the plugin's sources must not have, as PHP itself reads them.
 */

require __DIR__ . '/load.php';

test(
	'nothing is run, made up at run time, or included but by a fixed name',
	static function () {
		check( function_exists( 'token_get_all' ), "PHP's extension tokenizer is needed" );
		$folder = __DIR__ . '/../wpclone-migrator';
		$files  = array_merge( glob( "$folder/*.php" ), glob( "$folder/includes/*.php" ) );
		check( count( $files ) > 20, 'sources' );
		foreach ( $files as $file ) {
			foreach ( token_get_all( file_get_contents( $file ) ) as $token ) {
				$kind = is_array( $token ) ? $token[0] : $token;
				$what = basename( $file ) . ':' . ( is_array( $token ) ? $token[2] . ' ' . $token[1] : $token );
				check( ! in_array( $kind, array( '`', T_EVAL, T_INCLUDE, T_INCLUDE_ONCE, T_REQUIRE, T_GOTO, T_HALT_COMPILER ), true ), $what );
			}
		}
	}
);
