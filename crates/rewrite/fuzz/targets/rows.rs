//! Values in the rows of a dump: each becomes what it does by itself, and the statement around them stays.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::{DumpOptions, Report};
use wpclone_rewrite_fuzz::USUAL;
use wpclone_rewrite_fuzz::sql::Insert;

fuzz_target!(|insert: Insert| {
    let text = insert.encode();
    let given: Vec<_> = insert.rows.iter().flatten().map(|value| value.bytes.clone()).collect();
    assert_eq!(insert.read(&text).as_ref(), Some(&given), "the target reads what it writes");
    let (mut new, mut report) = (Vec::new(), Report::default());
    let options = DumpOptions { backslash_escapes: insert.escapes, ..DumpOptions::default() };
    let mut dump = USUAL.dump_rewriter(options);
    dump.push(&text, &mut new, &mut report);
    dump.finish(&mut new, &mut report);
    let mut alone = Report::default();
    let wanted: Vec<_> = given.iter().map(|value| USUAL.rewrite(value, &mut alone).into_owned()).collect();
    let is = insert.read(&new);
    assert!(
        is.as_ref() == Some(&wanted),
        "{}\nbecomes {}\n    not {:?}\n{report:?}",
        text.escape_ascii(),
        new.escape_ascii(),
        wanted.iter().map(|value| value.escape_ascii().to_string()).collect::<Vec<_>>()
    );
    assert_eq!(
        (report.changed_values, report.replaced_addresses),
        (alone.changed_values, alone.replaced_addresses),
        "{}",
        text.escape_ascii()
    );
    assert_eq!(new != text, alone.changed_values > 0, "only what changed is written anew");
});
