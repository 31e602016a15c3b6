//! The forms of literals, and where values are.

use wpclone_rewrite::{DumpOptions, Options, Report, Rewriter, SiteMapping, UnreplacedReason};

use crate::{NEW, OLD, assert_rewritten_with, assert_unchanged_with, keeping, plain, rewrite, rows, text};

#[track_caller]
fn values(options: &DumpOptions, cases: &[(&str, &str)]) {
    for (old, new) in cases {
        assert_rewritten_with(options, &[(&rows(old), &rows(new))]);
    }
}

#[test]
fn a_literal_keeps_the_escapes_it_has() {
    values(
        &DumpOptions::default(),
        &[
            ("(1,'http://example.com')", "(1,'https://new.example.org/shop')"),
            (r"('it\'s http://example.com/a')", r"('it\'s https://new.example.org/shop/a')"),
            ("('it''s http://example.com')", "('it''s https://new.example.org/shop')"),
            (
                r#"('\" " \0\Z\n\r\t\b\%\_ \q http://example.com \\')"#,
                r#"('\" " \0\Z\n\r\t\b\%\_ \q https://new.example.org/shop \\')"#,
            ),
            (r"('\\'),('http://example.com')", r"('\\'),('https://new.example.org/shop')"),
            (r"('\''),('http://example.com')", r"('\''),('https://new.example.org/shop')"),
            (r"('\\\''),('http://example.com''')", r"('\\\''),('https://new.example.org/shop''')"),
            ("(''),('''http://example.com''')", "(''),('''https://new.example.org/shop''')"),
            ("(\"it's \"\"http://example.com\"\"\")", "(\"it's \"\"https://new.example.org/shop\"\"\")"),
            ("('a\nb http://example.com')", "('a\nb https://new.example.org/shop')"),
            ("('é日本 http://example.com 😀')", "('é日本 https://new.example.org/shop 😀')"),
            (
                "(-1,+2.5e3,NULL,TRUE,'http://example.com',DEFAULT)",
                "(-1,+2.5e3,NULL,TRUE,'https://new.example.org/shop',DEFAULT)",
            ),
        ],
    );
}

#[test]
fn a_byte_order_mark_hides_no_statement() {
    let one = |url: &str| format!("INSERT INTO t VALUES ('{url}');\n");
    let files = |url: &str| {
        let one = one(url);
        // Also between files that were put together.
        format!(
            "\u{feff}{one}{one}\u{feff}{one}\u{feff}-- x\n{one}/* */\u{feff}\u{feff}{one}SET a='\u{feff}';{one}"
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&files(OLD), &files(NEW))]);
    let delimiter = |url: &str| format!("\u{feff}DELIMITER ;;\nINSERT INTO t VALUES ('{url}');;\n");
    assert_rewritten_with(&DumpOptions::default(), &[(&delimiter(OLD), &delimiter(NEW))]);
    let (_, report) = rewrite(&DumpOptions::default(), files(OLD).as_bytes());
    assert_eq!((report.values, report.changed_values), (6, 6));
}

#[test]
fn an_escaped_dot_is_a_dot() {
    values(&DumpOptions::default(), &[(r"('http://example\.com/')", "('https://new.example.org/shop/')")]);
    let (_, report) = rewrite(&DumpOptions::default(), rows(r"('^example\\.com$')").as_bytes());
    assert_eq!(report.unreplaced.get(&UnreplacedReason::HostPattern), Some(&1));
}

#[test]
fn encodings_inside_escaped_literals_are_decoded() {
    values(
        &DumpOptions::default(),
        &[
            (
                r#"('a:1:{s:1:\"u\";s:18:\"http://example.com\";}')"#,
                r#"('a:1:{s:1:\"u\";s:28:\"https://new.example.org/shop\";}')"#,
            ),
            (
                r#"('a:1:{s:3:\"it\'\";s:18:"http://example.com";}')"#,
                r#"('a:1:{s:3:\"it\'\";s:28:"https://new.example.org/shop";}')"#,
            ),
            (
                r#"('{\"u\":\"http:\\/\\/example.com\\/a\"}')"#,
                r#"('{\"u\":\"https:\\/\\/new.example.org\\/shop\\/a\"}')"#,
            ),
            (r#"('{"u":"http:\\/\\/example.com"}')"#, r#"('{"u":"https:\\/\\/new.example.org\\/shop"}')"#),
            (
                r#"('O:1:\"A\":1:{s:4:\"\0A\0u\";s:18:\"http://example.com\";}')"#,
                r#"('O:1:\"A\":1:{s:4:\"\0A\0u\";s:28:\"https://new.example.org/shop\";}')"#,
            ),
            ("('aHR0cDovL2V4YW1wbGUuY29t')", "('aHR0cHM6Ly9uZXcuZXhhbXBsZS5vcmcvc2hvcA==')"),
            ("('http%3A%2F%2Fexample.com')", "('https%3A%2F%2Fnew.example.org%2Fshop')"),
        ],
    );
}

#[test]
fn without_backslash_escapes_a_backslash_is_a_plain_character() {
    values(
        &plain(),
        &[
            (r"('C:\'),('http://example.com')", r"('C:\'),('https://new.example.org/shop')"),
            (r#"('{"u":"http:\/\/example.com"}')"#, r#"('{"u":"https:\/\/new.example.org\/shop"}')"#),
            ("('it''s http://example.com')", "('it''s https://new.example.org/shop')"),
            (
                r#"('a:1:{s:4:"it''s";s:18:"http://example.com";}')"#,
                r#"('a:1:{s:4:"it''s";s:28:"https://new.example.org/shop";}')"#,
            ),
        ],
    );
}

#[test]
fn the_dumps_sql_mode_decides_whether_a_backslash_escapes() {
    let row = |end: &str| format!("{}\n{}", end, rows(r"('\'),('http://example.com','\')"));
    let on = [
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES';",
        "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO,NO_BACKSLASH_ESCAPES' */;",
        "SET SESSION sql_mode=NO_BACKSLASH_ESCAPES;",
        "set @@session.sql_mode := concat(@@sql_mode, ',no_backslash_escapes');",
        "SET @m = 'NO_BACKSLASH_ESCAPES'; SET NAMES utf8mb4, sql_mode = @m;",
        "SET sql_mode='ANSI,NO_BACKSLASH_ESCAPES';SET @a=@@sql_mode;SET sql_mode='';SET sql_mode=@a;",
        "DELIMITER ;;\nSET sql_mode='NO_BACKSLASH_ESCAPES' ;;\nDELIMITER ;",
    ];
    for set in on {
        let (old, new) = (row(set), row(set).replace(OLD, NEW));
        assert_rewritten_with(&DumpOptions::default(), &[(&old, &new)]);
    }
    let off = [
        "SET GLOBAL sql_mode='NO_BACKSLASH_ESCAPES';",
        "SET sql_mode='NO_BACKSLASH_ESCAPES'; SET sql_mode=DEFAULT;",
        "SET @a=@@sql_mode, sql_mode='NO_BACKSLASH_ESCAPES'; SET sql_mode=@a;",
        "SET sql_mode='NO_BACKSLASH_ESCAPES'; SET sql_mode=(SELECT REPLACE(@@sql_mode,'NO_BACKSLASH_ESCAPES',''));",
        "-- SET sql_mode='NO_BACKSLASH_ESCAPES';",
        "SELECT 'SET sql_mode=''NO_BACKSLASH_ESCAPES''';",
    ];
    for set in off {
        let row = |url: &str| format!("{set}\n{}", rows(&format!(r"('\'','{url}')")));
        assert_rewritten_with(&DumpOptions::default(), &[(&row(OLD), &row(NEW))]);
    }
    assert_rewritten_with(
        &plain(),
        &[(
            &format!("SET sql_mode='';{}", rows(r"('\'','http://example.com')")),
            &format!("SET sql_mode='';{}", rows(r"('\'','https://new.example.org/shop')")),
        )],
    );
}

#[test]
fn in_ansi_mode_double_quotes_delimit_names() {
    let dump = |url: &str| {
        format!("SET sql_mode='ANSI_QUOTES';INSERT INTO \"a'b\" (\"http://example.com\") VALUES ('{url}');")
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
}

#[test]
fn hexadecimal_literals_keep_the_case_of_their_digits() {
    let hex = |text: &str, large: bool| -> String {
        text.bytes().map(|byte| if large { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
    };
    for large in [true, false] {
        let serialised = |url: &str| format!("a:1:{{i:0;s:{}:\"{url}\";}}é", url.len());
        for wrap in [
            |digits: &str| format!("0x{digits}"),
            |digits: &str| format!("_binary x'{digits}'"),
            |digits: &str| format!("X'{digits}'"),
        ] {
            let old = wrap(&hex(&serialised(OLD), large));
            let new = wrap(&hex(&serialised(NEW), large));
            values(
                &DumpOptions::default(),
                &[(&format!("(1,{old},'http://example.com')"), &format!("(1,{new},'{NEW}')"))],
            );
            values(&DumpOptions::default(), &[(&format!("({old})"), &format!("({new})"))]);
        }
    }
    let kept = ["(0x,'x')", "(0x1,0xABC,x'',x'4',x'zz',0xZZ,1x2,10x41)", "(b'0101',0b01,B'1',N'x',n'x')"];
    for literal in kept {
        assert_unchanged_with(&DumpOptions::default(), &[&rows(literal)]);
    }
    values(
        &DumpOptions::default(),
        &[
            ("(0x68747470,x 'http://example.com')", "(0x68747470,x 'https://new.example.org/shop')"),
            (
                "(_binary 'http://example.com\\n',_utf8mb4'http://example.com',N'http://example.com')",
                "(_binary 'https://new.example.org/shop\\n',_utf8mb4'https://new.example.org/shop',N'https://new.example.org/shop')",
            ),
        ],
    );
}

#[test]
fn binary_data_around_an_address_is_not_changed() {
    let row = |introducer: &str, url: &str| {
        let mut row = format!("INSERT INTO t VALUES ({introducer}'").into_bytes();
        row.extend((0..=255_u8).filter(|byte| !matches!(byte, b'\'' | b'\\')));
        row.extend(b"\0\xff\xfe\xc3\\'\\\\ ");
        row.extend(url.bytes());
        row.extend(b"\0\xe2\x28\xa1');");
        row
    };
    let (new, _) = rewrite(&DumpOptions::default(), &row("", OLD));
    assert_eq!(text(&new), text(&row("", NEW)));
    let (new, _) = rewrite(&DumpOptions::default(), &row("_binary ", OLD));
    assert_eq!(text(&new), text(&row("_binary ", OLD)), "the address itself is binary data");
}

#[test]
fn values_of_every_statement_that_writes_rows_are_rewritten() {
    let statements = |url: &str| {
        format!(
            "INSERT INTO a VALUES ('{url}');REPLACE INTO `a` (`b`,`c`) VALUES (1,'{url}'),(2,'{url}');\n\
             insert ignore into a values\n('{url}'),\n('{url}')\n;INSERT a SET b='{url}';\
             INSERT INTO a VALUES ('{url}') ON DUPLICATE KEY UPDATE b = VALUES(b), c='{url}';\
             update a set b='{url}' where c=1;\
             /*!40000 INSERT INTO a VALUES ('{url}')*/;INSERT /*! IGNORE */ INTO a VALUES ('{url}');\
             INSERT INTO a VALUES -- it's\n# it's\n/* it's */('{url}'); INSERT INTO a VALUES (1-2/3*4,'{url}')"
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&statements(OLD), &statements(NEW))]);
}

#[test]
fn parts_without_rows_are_kept_and_reported() {
    let elsewhere = [
        "-- http://example.com it's\n",
        "# http://example.com it's \" `\n",
        "/* http://example.com it's */",
        "SET @a = 'http://example.com';",
        "CREATE TABLE a (b varchar(9) DEFAULT 'http://example.com' COMMENT 'it''s');",
        "DELIMITER ;;\nCREATE TRIGGER a BEFORE INSERT ON b FOR EACH ROW BEGIN INSERT INTO c VALUES ('http://example.com'); END ;;\nDELIMITER ;\n",
        "DELIMITER $$\nCREATE PROCEDURE a() BEGIN UPDATE c SET d='http://example.com'; END$$\nDELIMITER ;\n",
        "delimiter //\n/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEGIN SET x='http://example.com'; END */ //\ndelimiter ;\n",
    ];
    for part in elsewhere {
        let dump = |url: &str| format!("{part}{}", rows(&format!("('{url}')")));
        let (new, report) = rewrite(&DumpOptions::default(), dump(OLD).as_bytes());
        assert_eq!(text(&new), text(dump(NEW).as_bytes()));
        assert_eq!(
            (report.unreplaced.get(&UnreplacedReason::OutsideRows), report.replaced_addresses),
            (Some(&1), 1),
            "{part}"
        );
        assert!(report.unreplaced_samples[0].context.contains("http://example.com"));
    }
}

#[test]
fn delimiters_and_comments_are_parsed() {
    let parts = [
        "/*!50001 SET a=1 /* it's */ */;",
        "/*M!999999\\- enable the sandbox mode */ \n",
        "--\n-- it's\n--",
        "SELECT 1 --2, '-- ';",
        "SELECT 1 /**/ - - 1 # '\n;",
        "DELIMITER ''\nSELECT 1;",
        "DELIMITER\n",
        "DELIMITER |\nSELECT 'a|b', `c|d`|\nDELIMITER ;",
        "DELIMITER END_OF\nSELECT 1END_OF\nSELECT 'x' END_OF DELIMITER ;\n",
        "DELIMITER ;;\nSELECT 1 ; SELECT 2;;\nSELECT 3;;DELIMITER ;\n",
        "SELECT delimiter FROM `delimiter`;",
        "INSERT INTO `a``b;'` VALUES (1);",
        "SELECT 1 */ 2;",
        "LOCK TABLES `a` WRITE;/*!40000 ALTER TABLE `a` DISABLE KEYS */;",
    ];
    for part in parts {
        let dump = |url: &str| format!("{part}\n{}", rows(&format!("('{url}')")));
        assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
    }
}

#[test]
fn values_are_counted() {
    let dump = "INSERT INTO t VALUES ('a',1,'http://example.com http://example.com',0x41,x'42');SELECT 'b';";
    let (_, Report { values, changed_values: changed, replaced_addresses: addresses, .. }) =
        rewrite(&DumpOptions::default(), dump.as_bytes());
    assert_eq!((values, changed, addresses), (4, 1, 2));
}

#[test]
fn root_relative_addresses_are_counted_where_the_path_changes() {
    let dump = rows(r#"(1,'<a href=\"/about/\">'),(2,'<a href="/">'),(3,'/about/')"#);
    for (to, wanted) in [("https://b.example/copy", Some(&2)), ("https://b.example", None)] {
        let rewriter = Rewriter::new(
            &[SiteMapping::new(OLD, to).unwrap()],
            Options { count_root_relative: true, ..Options::default() },
        );
        let rewriter = rewriter.unwrap();
        let (mut out, mut report) = (Vec::new(), Report::default());
        let mut work = rewriter.dump_rewriter(DumpOptions::default());
        work.push(dump.as_bytes(), &mut out, &mut report);
        work.finish(&mut out, &mut report);
        assert_eq!(out, dump.as_bytes(), "they are not changed");
        assert_eq!(report.unreplaced.get(&UnreplacedReason::RootRelative), wanted);
    }
}

#[test]
fn guids_are_rewritten_unless_they_are_kept() {
    let row = |guid: &str, url: &str| {
        let values: Vec<String> = (0..23).map(|at| if at == 18 { guid.into() } else { url.into() }).collect();
        format!("('{}')", values.join("','"))
    };
    let dump = |guid: &str, url: &str| {
        let (standard, other) = (row(guid, url), format!("('{guid}','{url}',(2,'{guid}'))"));
        format!(
            "INSERT INTO `wp_posts` VALUES {standard},\n{standard};\
             INSERT INTO `db`.`wp_2_posts` (`guid`,`x`) VALUES ('{guid}','{url}');\
             insert into wp_posts (x, guid) values ('{url}','{guid}'),(now(1,2,3),'{guid}');\
             CREATE TABLE `wp_3_posts` (\n  `guid` varchar(255) DEFAULT ',',\n  `ID` decimal(10,2),\n KEY `guid` (`guid`,`ID`)\n);\
             INSERT INTO `wp_3_posts` VALUES ('{guid}','{url}');\
             CREATE TABLE `wp_4_posts` (a int, b int);INSERT INTO `wp_4_posts` VALUES {0};\
             INSERT INTO `posts` VALUES {standard};INSERT INTO `wp_other` VALUES {0};INSERT INTO `wp_postmeta` VALUES {other};",
            row(url, url),
            other = other.replace(guid, url),
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD, OLD), &dump(NEW, NEW))]);
    let (new, report) = rewrite(&keeping(), dump(OLD, OLD).as_bytes());
    assert_eq!(text(&new), text(dump(OLD, NEW).as_bytes()));
    assert_eq!(
        (report.unreplaced.get(&UnreplacedReason::Guid), report.unreplaced_samples.len()),
        (Some(&7), 0)
    );
}
