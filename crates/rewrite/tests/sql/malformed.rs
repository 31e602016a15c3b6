//! Malformed and truncated dumps.

use wpclone_rewrite::{DumpOptions, Malformed, UnreplacedReason};

use crate::{NEW, OLD, in_chunks, rewrite, rows, text};

#[test]
fn a_truncated_dump_is_passed_through_and_counted() {
    let ends = [
        "INSERT INTO t VALUES ('http://example.com",
        r"INSERT INTO t VALUES ('http://example.com\",
        r"INSERT INTO t VALUES ('http://example.com\'",
        "INSERT INTO t VALUES ('http://example.com''",
        "INSERT INTO t VALUES (x'41",
        "INSERT INTO `t http://example.com",
        "INSERT INTO t VALUES (1,",
        "INSERT INTO t VALUES (",
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t",
        "/* http://example.com",
        "/*! SELECT 1",
        "/*",
    ];
    for end in ends {
        let dump = |url: &str| format!("{}{end}", rows(&format!("('{url}')")));
        let (new, report) = rewrite(&DumpOptions::default(), dump(OLD).as_bytes());
        assert_eq!(text(&new), text(dump(NEW).as_bytes()));
        assert_eq!(report.malformed.get(&Malformed::SqlTruncated), Some(&1), "{end}");
        let held = u64::from(end.contains(OLD));
        assert_eq!(report.unreplaced.get(&UnreplacedReason::Malformed).copied().unwrap_or(0), held, "{end}");
    }
    for end in ["", "INSERT INTO t VALUES ('a')", "-- comment", "SELECT 'a'", "/", "-", "*/"] {
        let (new, report) = rewrite(&DumpOptions::default(), end.as_bytes());
        assert_eq!((text(&new), report.malformed.len()), (text(end.as_bytes()), 0));
    }
}

#[test]
fn a_value_that_is_too_long_is_passed_through_and_the_next_one_rewritten() {
    let options = DumpOptions { max_value_bytes: 100, ..DumpOptions::default() };
    let long = format!(r"it\'s ''{} {OLD}\\", "x".repeat(100));
    let hex = "41".repeat(100);
    let dump =
        |url: &str| rows(&format!("('{long}'),('{url}','{}'),(0x{hex}),(x'{hex}','{url}')", "y".repeat(100)));
    let (new, report) = rewrite(&options, dump(OLD).as_bytes());
    assert_eq!(text(&new), text(dump(NEW).as_bytes()));
    assert_eq!(report.malformed.get(&Malformed::SqlValueTooLong), Some(&3));
}

#[test]
fn memory_is_bounded_for_tokens_that_never_end() {
    let options = DumpOptions { max_value_bytes: 1 << 16, ..DumpOptions::default() };
    let beginnings = [
        "INSERT INTO t VALUES ('",
        "/*",
        "/*!",
        "`",
        "\"",
        "INSERT INTO t VALUES (0x",
        "--",
        "#",
        "a",
        "DELIMITER ",
        " ",
        ";",
        "(",
    ];
    for beginning in beginnings {
        let rewriter = crate::rewriter();
        let (mut out, mut report) = (Vec::new(), wpclone_rewrite::Report::default());
        let mut dump = rewriter.dump_rewriter(options.clone());
        dump.push(beginning.as_bytes(), &mut out, &mut report);
        let mut passed = 0;
        for _ in 0..512 {
            dump.push(&filling(beginning), &mut out, &mut report);
            passed += out.len();
            out.clear();
        }
        assert!(passed + (2 << 16) > 512 * 600, "{beginning}: only {passed} of {} passed", 512 * 600);
        dump.finish(&mut out, &mut report);
        assert_eq!(passed + out.len(), 512 * 600 + beginning.len(), "{beginning}");
    }
}

/// Text that does not end the current token.
fn filling(beginning: &str) -> Vec<u8> {
    let byte = match beginning.as_bytes() {
        [.., b'x'] => b'4',
        [.., last @ (b' ' | b';' | b'(')] => *last,
        _ => b'a',
    };
    vec![byte; 600]
}

#[test]
fn a_charset_with_quote_bytes_in_its_characters_is_passed_through() {
    for charset in ["gbk", "SJIS", "big5", "cp932", "'gb18030'"] {
        for set in [
            format!("SET NAMES {charset};"),
            format!("/*!40101 SET character_set_client = {charset} */;"),
            format!("SET CHARACTER SET {charset};"),
        ] {
            let dump =
                |url: &str| format!("{}{set}{}", rows(&format!("('{url}')")), rows(&format!("('{OLD}')")));
            let (new, report) = rewrite(&DumpOptions::default(), dump(OLD).as_bytes());
            assert_eq!(text(&new), text(dump(NEW).as_bytes()));
            assert_eq!(report.malformed.get(&Malformed::SqlCharset), Some(&1), "{set}");
        }
    }
    let (_, report) = rewrite(&DumpOptions::default(), b"SET NAMES utf8mb4;SET character_set_results = gbk;");
    assert!(report.malformed.is_empty());
}

#[test]
fn unusual_syntax_is_passed_through() {
    let odd: [&[u8]; 12] = [
        b"/*! /*! */ */ ';'",
        b"DELIMITER \\\nSELECT 1\\\n",
        b"DELIMITER ''''\n'",
        b"))))))((((,,,,INSERT INTO VALUES ),'",
        b"INSERT INSERT INTO INTO `` VALUES VALUES ((((('",
        b"CREATE CREATE TABLE TABLE ((,,`",
        b"SET SET = = @ @@ , ( ' ;",
        b"SET @a=@a,@b=@@,sql_mode=;",
        b"\0\xff\xfe''\"\"``--\n",
        b"0x0x0x'x'x'x'",
        b"INSERT INTO t VALUES 0x",
        b"DELIMITER 'INSERT\nINSERT",
    ];
    for text in odd {
        let (new, _) = rewrite(&crate::renaming(), text);
        assert_eq!(new, text);
    }
    let delimiter = format!("DELIMITER {}\n{}", "x".repeat(300), rows("('http://example.com')"));
    let (new, _) = in_chunks(&DumpOptions::default(), delimiter.as_bytes(), &[50]);
    assert!(text(&new).contains(NEW), "a delimiter that is too long is ignored");
}
