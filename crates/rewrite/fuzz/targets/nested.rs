//! Nested encodings: rewriting an encoded value equals encoding the rewritten value, and the inverse mapping restores
//! it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::{Options, Report, Rewriter};
use wpclone_rewrite_fuzz::node::Node;
use wpclone_rewrite_fuzz::{MAPPINGS, NEW, OLD, REWRITER, check_invariants, rewriter};

const LONGER: &str = "https://a-much-longer.example.net:8443";
static THERE_AND_BACK: LazyLock<[Rewriter; 2]> =
    LazyLock::new(|| [(OLD, LONGER), (LONGER, OLD)].map(|pair| rewriter(&[pair], Options::default())));

fuzz_target!(|node: Node| {
    let value = node.encode(OLD);
    let (new, report) = check_invariants(&REWRITER, value.as_bytes());
    let (new, expected) = (String::from_utf8_lossy(&new), node.encode(NEW));
    assert!(new == expected, "value    {value}\nresult   {new}\nexpected {expected}\n{node:?}\n{report:?}");

    let [there, back] = &*THERE_AND_BACK;
    let longer = there.rewrite(value.as_bytes(), &mut Report::default());
    let restored = back.rewrite(&longer, &mut Report::default());
    let restored = String::from_utf8_lossy(&restored);
    assert!(restored == value, "value    {value}\nrestored {restored}\n{node:?}");

    let (same, report) = check_invariants(&MAPPINGS[1], value.as_bytes());
    assert_eq!(
        (&*same, report.unreplaced_total()),
        (value.as_bytes(), 0),
        "a mapping to the same address changes nothing: {report:?}"
    );
});
