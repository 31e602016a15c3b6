<?php
/**
 * The serialized list of active plugins, which is changed without unserialize(); identifiers; executable file names.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\File_Writer;
use Wpclone\Migrator\Plugin_Activation;
use Wpclone\Migrator\Table_Builder;

test(
	'the plugin is added to the active plugins, and the others stay',
	static function () {
		$cases = array(
			array( array(), array( 'x/x.php' ) ),
			array( array( 'a/a.php' ), array( 'a/a.php', 'x/x.php' ) ),
			array( array( 3 => 'a/a.php', 7 => "b/\"};i:0;s:1:\"b.php" ), array( 'a/a.php', "b/\"};i:0;s:1:\"b.php", 'x/x.php' ) ),
			array( array( 'x/x.php', 'a/a.php' ), array( 'x/x.php', 'a/a.php' ) ),
			array( array( "\u{e9}/\u{1F600}.php" ), array( "\u{e9}/\u{1F600}.php", 'x/x.php' ) ),
		);
		foreach ( $cases as list( $before, $after ) ) {
			same( $after, unserialize( Plugin_Activation::with_plugin( serialize( $before ), 'x/x.php' ) ), serialize( $before ) );
		}
		$there = serialize( array( 5 => 'x/x.php' ) );
		same( $there, Plugin_Activation::with_plugin( $there, 'x/x.php' ), 'a list that has it stays as it is' );
	}
);

test(
	'a value that is not a list of plugins is replaced by a valid list',
	static function () {
		foreach ( array( '', 'b:0;', 'a:1:{i:0;s:999:"x";}', 'a:1:{', 'O:8:"stdClass":0:{}', 'a:1:{i:0;O:1:"A":0:{}}', 'x/x.php', 's:7:"x/x.php";', 'a:99999999999:{}' ) as $value ) {
			$list = unserialize( Plugin_Activation::with_plugin( $value, 'x/x.php' ), array( 'allowed_classes' => false ) );
			check( is_array( $list ) && in_array( 'x/x.php', $list, true ), $value );
		}
	}
);

test(
	'identifiers have 1 to 64 characters of the basic multilingual plane and no trailing space',
	static function () {
		foreach ( array( 'a', str_repeat( "\u{e9}", 64 ), 'a b', '`', "'", ';', '0' ) as $name ) {
			check( Table_Builder::is_name( $name ), $name );
		}
		foreach ( array( '', str_repeat( 'a', 65 ), 'a ', "a\0", "\u{1F600}", "\xff", "a\xc3" ) as $name ) {
			check( ! Table_Builder::is_name( $name ), $name );
		}
		same( "\u{e9}\u{e9}", Table_Builder::truncate( "\u{e9}\u{e9}\u{e9}", 2 ), 'cut' );
	}
);

test(
	'executable file names are recognized by any of their extensions, in any case',
	static function () {
		foreach ( array( 'x.php', 'x.PHP7', 'x.php.jpg', 'x.phtml.', 'a.pHaR', 'x.asp', 'x.jspx', 'x.shtml', '.php' ) as $name ) {
			same( 1, preg_match( File_Writer::EXECUTABLE_NAMES, $name ), $name );
		}
		foreach ( array( 'php', 'x.jpg', 'phpinfo', 'x.phpx', 'x.php_', 'x.html', 'x.plan', 'x.pys', 'readme.sharp' ) as $name ) {
			same( 0, preg_match( File_Writer::EXECUTABLE_NAMES, $name ), $name );
		}
	}
);
