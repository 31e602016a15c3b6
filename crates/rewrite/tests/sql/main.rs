//! Tests of the public API with SQL dumps.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binary;
mod dialects;
mod malformed;
mod prefix;
mod properties;
mod sqlite;

use wpclone_rewrite::{DumpOptions, GuidPolicy, Options, PrefixMapping, Report, Rewriter, SiteMapping};

const OLD: &str = "http://example.com";
const NEW: &str = "https://new.example.org/shop";

fn rewriter() -> Rewriter {
    Rewriter::new(&[SiteMapping::new(OLD, NEW).unwrap()], Options::default()).unwrap()
}

fn keeping() -> DumpOptions {
    DumpOptions { guid: GuidPolicy::Keep, ..DumpOptions::default() }
}

fn renaming() -> DumpOptions {
    DumpOptions { prefix: Some(PrefixMapping::new("wp_", "x7_")), ..DumpOptions::default() }
}

fn plain() -> DumpOptions {
    DumpOptions { backslash_escapes: false, ..DumpOptions::default() }
}

/// Rewrites a dump in chunks of these lengths; the last length is repeated.
fn in_chunks(options: &DumpOptions, dump: &[u8], lengths: &[usize]) -> (Vec<u8>, Report) {
    let rewriter = rewriter();
    let (mut out, mut report) = (Vec::new(), Report::default());
    let mut stream = rewriter.dump_rewriter(options.clone());
    let mut rest = dump;
    let mut lengths = lengths.iter();
    let mut length = dump.len();
    while !rest.is_empty() {
        length = lengths.next().copied().unwrap_or(length).clamp(1, rest.len().max(1));
        let (chunk, more) = rest.split_at(length.min(rest.len()));
        stream.push(chunk, &mut out, &mut report);
        rest = more;
    }
    stream.finish(&mut out, &mut report);
    (out, report)
}

/// Rewrites a dump at once and in chunks of several lengths, and compares the results.
#[track_caller]
fn rewrite(options: &DumpOptions, dump: &[u8]) -> (Vec<u8>, Report) {
    let (whole, report) = in_chunks(options, dump, &[dump.len()]);
    for length in [1, 2, 3, 7, 64] {
        let (pieces, counted) = in_chunks(options, dump, &[length]);
        assert_eq!(text(&pieces), text(&whole), "in chunks of {length}");
        let counts = |report: &Report| {
            (report.values, report.changed_values, report.malformed.clone(), report.unreplaced.clone())
        };
        assert_eq!(counts(&counted), counts(&report), "in chunks of {length}");
    }
    (whole, report)
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[track_caller]
fn assert_rewritten_with(options: &DumpOptions, cases: &[(&str, &str)]) {
    for (dump, wanted) in cases {
        let (new, report) = rewrite(options, dump.as_bytes());
        assert_eq!(String::from_utf8(new).unwrap(), *wanted, "of {dump}: {report:?}");
    }
}

#[track_caller]
fn assert_unchanged_with(options: &DumpOptions, dumps: &[&str]) {
    for dump in dumps {
        assert_rewritten_with(options, &[(dump, dump)]);
    }
}

/// An `INSERT` into a table without special columns.
fn rows(values: &str) -> String {
    format!("INSERT INTO `t` VALUES {values};\n")
}
