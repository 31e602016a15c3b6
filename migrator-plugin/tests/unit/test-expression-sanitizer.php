<?php
/**
 * Expressions of definitions: which are accepted, in which form, and which are not.
 *
 * Without a database; test-table-fidelity.php covers charsets and literals.
 */

require __DIR__ . '/../support/unit-bootstrap.php';

use Wpclone\Migrator\Database;
use Wpclone\Migrator\Expression_Sanitizer;
use Wpclone\Migrator\Column_Reader;

/** The sanitized expression, or null; the table has the columns a, B, "c`d" and sleep. */
function sanitized( string $text ): ?string {
	static $expression = null;
	if ( null === $expression ) {
		// Without a connection: string literals and introducers would need one.
		$db         = ( new ReflectionClass( Database::class ) )->newInstanceWithoutConstructor();
		$expression = new Expression_Sanitizer( $db, array( 'a', 'B', 'c`d', 'sleep' ) );
	}
	return $expression->sanitize( $text );
}

test(
	'accepted expressions are rebuilt from tokens',
	static function () {
		$cases = array(
			'a'                                     => '`a`',
			'`b`+1'                                 => '`B` + 1',
			'`c``d`'                                => '`c``d`',
			'UPPER( a )'                            => 'upper( `a` )',
			"substr\t(a,1,2)"                       => 'substr( `a` , 1 , 2 )',
			'(a IS NOT NULL)'                       => '( `a` is not null )',
			'-1.5e-3 - -a'                          => '- 1.5e-3 - - `a`',
			'a->1'                                  => '`a` -> 1',
			'case when a in (1,2) then 0x4142 end'  => "case when `a` in( 1 , 2 ) then x'4142' end",
			'cast(a as unsigned)'                   => 'cast( `a` as unsigned )',
			'curdate() + interval 1 day'            => 'curdate( ) + interval 1 day',
			'sleep + 1'                             => '`sleep` + 1',
			"x'00ff'"                               => "x'00ff'",
			"b'0101'"                               => "b'0101'",
			'if(a<=>B,1,.5)'                        => 'if( `a` <=> `B` , 1 , .5 )',
			'current_timestamp'                     => 'current_timestamp',
		);
		foreach ( $cases as $text => $expected ) {
			same( $expected, sanitized( $text ), $text );
		}
	}
);

test(
	'expressions that could do harm or leave the surrounding parentheses are rejected',
	static function () {
		$cases = array(
			'', ' ', 'sleep(1)', 'SLEEP (1)', 'benchmark(1,1)', "load_file('x')", 'user()', 'database()', 'version()', 'get_lock(1,1)', '(select 1)', 'select 1', 'a; drop table x', 'a -- x', "a # x\n", 'a /* x */', 'a /*! union */', '@a', '@@version', ':=1',
			'a := 1', 'nothing', '`nothing`', 'wp_posts.a', '`a`.`b`', 'a.b', '1) , (1', '1)', '(1', '1, 2', ')(', '"a"', "'a", "x'0'", "x'zz'", '0x1', '0xg1', '1a', '1.2.3', '?', '{a}', '[a]', '$a', '\\', 'a\\b', "a\0", "\xff", 'into outfile',
			'a into b', 'exists(1)', 'values(a)', 'row(1,2)', 'over()', 'procedure analyse()', 'master_pos_wait(1,1)', 'extractvalue(1,1)', 'updatexml(1,1,1)', 'name_const(1,1)', 'is_free_lock(1)', 'sys_eval(1)', 'uncompress(a)', 'connection_id()', 'session_user()',
			str_repeat( '(', 9000 ) . '1' . str_repeat( ')', 9000 ), str_repeat( 'a+', 8192 ) . 'a',
		);
		foreach ( $cases as $text ) {
			same( null, sanitized( $text ), $text );
		}
	}
);

test(
	'expressions built to be slow are rejected in time',
	static function () {
		foreach ( array( "'" . str_repeat( "\\'", 8000 ), '`' . str_repeat( '``', 8000 ), str_repeat( 'x', 16000 ), str_repeat( ' ', 16000 ), '0x' . str_repeat( 'ab', 8000 ) . 'z' ) as $text ) {
			same( null, sanitized( $text ), substr( $text, 0, 10 ) );
		}
	}
);

test(
	'literals are unescaped correctly',
	static function () {
		$cases = array( "it''s" => "it's", "it\\'s" => "it's", '\\\\' => '\\', '\\n\\r\\t\\0\\Z' => "\n\r\t\0\x1a", '\\x\\%' => 'x%', "''''" => "''", '' => '' );
		foreach ( $cases as $inside => $expected ) {
			same( $expected, Column_Reader::unescape_literal( $inside ), $inside );
		}
	}
);
