//! Dumps of SQLite (`.dump`): no escapes, and functions for line breaks.

use wpclone_rewrite::DumpOptions;

use crate::{NEW, OLD, assert_rewritten_with, plain, rewrite, rows};

fn serialised(url: &str, end: &str) -> String {
    let value = format!("it's {url}{end}");
    // The line breaks are single bytes, however they are written.
    let length = value.replace("\\n", "\n").replace("\\r", "\r").len();
    format!("a:1:{{i:0;s:{length}:\"{value}\";}}").replace('\'', "''")
}

#[track_caller]
fn assert_moved(row: impl Fn(&str) -> String) {
    let dump = |url: &str| rows(&format!("(1,{},'{url}')", row(url)));
    assert_rewritten_with(&plain(), &[(&dump(OLD), &dump(NEW))]);
    let (_, report) = rewrite(&plain(), dump(OLD).as_bytes());
    assert!(report.malformed.is_empty() && report.unreplaced.is_empty(), "{report:?}");
}

#[test]
fn line_breaks_written_with_replace_count_as_one_byte() {
    assert_moved(|url| format!("replace('{}','\\n',char(10))", serialised(url, "\\na\\n\\n")));
    assert_moved(|url| format!("REPLACE('{}','\\n',CHAR(10))", serialised(url, "\\n")));
    assert_moved(|url| {
        format!("replace(replace('{}','\\r',char(13)),'\\n',char(10))", serialised(url, "\\r\\nb\\r\\n"))
    });
    // The text itself contains the usual marker.
    assert_moved(|url| {
        let value = format!("{url}(\\n0)C:\\new");
        let length = value.len() - 4;
        format!("replace('a:1:{{i:0;s:{length}:\"{value}\";}}','(\\n0)',char(10))")
    });
    assert_moved(|url| format!("replace('{{\"u\":\"{url}\"}}\\n','\\n',char(10))"));
}

#[test]
fn unistr_is_decoded() {
    assert_moved(|url| {
        let length = url.len() + 2;
        format!("unistr('a:1:{{i:0;s:{length}:\"{url}\\u000a\\\\\";}}')")
    });
}

#[test]
fn another_call_around_a_literal_is_none_of_these() {
    for call in ["replace('%','a','b')", "upper('%')", "replace('%','\\n')", "replace('%','\\n',char(99999))"]
    {
        assert_moved(|url| call.replace('%', &format!("s:{}:\"{url}\\\";", url.len() + 1)));
    }
}

#[test]
fn a_dump_of_sqlite_needs_no_option() {
    let dump = |url: &str| {
        format!(
            "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE \"wp_t\" (a text, b blob);\n\
             INSERT INTO \"wp_t\" VALUES('C:\\','{url}');\n\
             INSERT INTO wp_t VALUES(replace('{}','\\n',char(10)),X'00{}');\nCOMMIT;\n",
            serialised(url, "\\n"),
            "687474703a2f2f6578616d706c652e636f6d"
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
}
