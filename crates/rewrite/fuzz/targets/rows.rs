//! Rows of a dump: each value is rewritten as if it were a value by itself, and the rest of the statement is not
//! changed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::{DumpOptions, Report, Rewriter};
use wpclone_rewrite_fuzz::REWRITER;
use wpclone_rewrite_fuzz::sql::{Insert, Style, Value};

fuzz_target!(|insert: Insert| {
    let text = insert.encode();
    let original: Vec<_> = insert.rows.iter().flatten().map(|value| value.bytes.clone()).collect();
    assert_eq!(insert.read(&text).as_ref(), Some(&original), "the parser reads what the generator writes");
    let (mut new, mut report) = (Vec::new(), Report::default());
    let options = DumpOptions { backslash_escapes: insert.escapes, ..DumpOptions::default() };
    let mut dump = REWRITER.dump_rewriter(options);
    dump.push(&text, &mut new, &mut report);
    dump.finish(&mut new, &mut report);
    let mut single_report = Report::default();
    let mut rewrite = |value: &Value| {
        let is_binary = matches!(value.style, Style::Binary | Style::Hex | Style::QuotedHex);
        let rewrite = if is_binary { Rewriter::rewrite_binary } else { Rewriter::rewrite };
        rewrite(&REWRITER, &value.bytes, &mut single_report).into_owned()
    };
    let expected: Vec<_> = insert.rows.iter().flatten().map(&mut rewrite).collect();
    let actual = insert.read(&new);
    assert!(
        actual.as_ref() == Some(&expected),
        "{}\nbecomes {}\n    not {:?}\n{report:?}",
        text.escape_ascii(),
        new.escape_ascii(),
        expected.iter().map(|value| value.escape_ascii().to_string()).collect::<Vec<_>>()
    );
    assert_eq!(
        (report.changed_values, report.replaced_addresses),
        (single_report.changed_values, single_report.replaced_addresses),
        "{}",
        text.escape_ascii()
    );
    assert_eq!(new != text, single_report.changed_values > 0, "the dump changes only if a value does");
});
