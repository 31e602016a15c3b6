//! Tests of the public API with single values.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod addresses;
mod binary;
mod characters;
mod converted;
mod folders;
mod fuzz_findings;
mod malformed;
mod oracle;
mod properties;
mod structures;
mod unreplaced;

use std::borrow::Cow;

use wpclone_rewrite::{Options, Report, Rewriter, SiteMapping};

const OLD: &str = "http://example.com";
const NEW: &str = "https://new.example.org/shop";

fn rewriter(pairs: &[(&str, &str)]) -> Rewriter {
    let pairs: Vec<SiteMapping> =
        pairs.iter().map(|(from, to)| SiteMapping::new(from, to).unwrap()).collect();
    Rewriter::new(&pairs, Options::default()).unwrap()
}

fn default_rewriter() -> Rewriter {
    rewriter(&[(OLD, NEW)])
}

fn rewrite(rewriter: &Rewriter, value: &str) -> (String, Report) {
    let mut report = Report::default();
    let new = rewriter.rewrite(value.as_bytes(), &mut report);
    assert_eq!(matches!(new, Cow::Owned(_)), new != value.as_bytes(), "owned only when changed: {value}");
    (String::from_utf8(new.into_owned()).unwrap(), report)
}

/// Checks that each value becomes the expected one.
#[track_caller]
fn assert_rewritten_with(rewriter: &Rewriter, cases: &[(&str, &str)]) {
    for (value, wanted) in cases {
        let (new, report) = rewrite(rewriter, value);
        assert_eq!(&new, wanted, "of {value}: {report:?}");
    }
}

#[track_caller]
fn assert_rewritten(cases: &[(&str, &str)]) {
    assert_rewritten_with(&default_rewriter(), cases);
}

/// Checks that values do not change.
#[track_caller]
fn assert_unchanged(values: &[&str]) {
    for value in values {
        let (new, report) = rewrite(&default_rewriter(), value);
        assert_eq!(&new, value, "{report:?}");
    }
}
