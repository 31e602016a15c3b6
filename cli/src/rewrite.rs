//! `wpclone rewrite`: copies standard input to standard output and replaces a site's URLs.

use std::io::Write as _;

use wpclone_rewrite::{DumpOptions, Report, Rewriter};

use crate::failure::Failure;
use crate::text::{format_bytes, json};

mod args;
mod input_format;
mod streams;
mod table;

pub(crate) use args::{HELP, RewriteArgs};
use streams::Streams;

/// Number of bytes per read.
const CHUNK: usize = 1 << 20;
/// Largest value in bytes; a value is held in memory.
const MAX_VALUE: usize = 256 << 20;

/// Runs the command.
///
/// # Errors
/// Invalid arguments, a value that is too large, or a failed read or write.
pub(crate) fn run(args: &RewriteArgs, json_report: bool) -> Result<u8, Failure> {
    let rewriter = args.rewriter()?;
    let dump = args.dump_options(MAX_VALUE);
    let mut streams = Streams::open()?;
    let is_dump = dump.is_some();
    input_format::check(streams.peek(input_format::START_BYTES)?, is_dump)?;
    let mut report = Report::default();
    match dump {
        Some(options) => rewrite_dump(&rewriter, options, &mut streams, &mut report)?,
        None => rewrite_values(&rewriter, args.nul, &mut streams, &mut report)?,
    }
    streams.end();
    let note = note(&report, streams.length, is_dump);
    let text = if json_report || args.wants_json() {
        let mut report = serde_json::to_value(&report).unwrap_or_default();
        report["note"] = note.into();
        json(&report)
    } else {
        table::report(&report) + &note.map(|note| format!("\nnote: {note}\n")).unwrap_or_default()
    };
    // A closed standard error is not a failure of the command.
    let _ = std::io::stderr().write_all(text.as_bytes());
    Ok(0)
}

/// What to say if nothing was recognised in the input.
fn note(report: &Report, length: u64, is_dump: bool) -> Option<&'static str> {
    let nothing_found = report.replaced_addresses + report.unreplaced_total() + report.prefix_renames == 0;
    match () {
        () if length == 0 => Some("standard input is empty"),
        () if is_dump && report.values == 0 => {
            Some("no rows were recognised: there is no INSERT, REPLACE or UPDATE with a literal")
        }
        () if nothing_found => Some("no old URL was found"),
        () => None,
    }
}

fn rewrite_dump(
    rewriter: &Rewriter,
    options: DumpOptions,
    streams: &mut Streams,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut dump = rewriter.dump_rewriter(options);
    let (mut chunk, mut out) = (vec![0; CHUNK], Vec::new());
    loop {
        let length = streams.read(&mut chunk)?;
        if length == 0 {
            dump.finish(&mut out, report);
            return streams.write(&out);
        }
        dump.push(&chunk[..length], &mut out, report);
        streams.write(&out)?;
        out.clear();
        // Releases the memory of a very long value.
        out.shrink_to(4 * CHUNK);
    }
}

/// Rewrites one value, or several that each end with a NUL.
fn rewrite_values(
    rewriter: &Rewriter,
    nul: bool,
    streams: &mut Streams,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut chunk, mut held, mut out) = (vec![0; CHUNK], Vec::new(), Vec::new());
    loop {
        let length = streams.read(&mut chunk)?;
        let mut rest = &chunk[..length];
        while let Some(end) = memchr::memchr(0, rest).filter(|_| nul) {
            held.extend_from_slice(&rest[..end]);
            check_size(held.len())?;
            out.extend_from_slice(&rewriter.rewrite(&held, report));
            out.push(0);
            held.clear();
            rest = &rest[end + 1..];
        }
        held.extend_from_slice(rest);
        check_size(held.len())?;
        if length == 0 {
            if !nul || !held.is_empty() {
                out.extend_from_slice(&rewriter.rewrite(&held, report));
            }
            return streams.write(&out);
        }
        streams.write(&out)?;
        out.clear();
    }
}

fn check_size(length: usize) -> Result<(), Failure> {
    if length <= MAX_VALUE {
        return Ok(());
    }
    let limit = format_bytes(MAX_VALUE as u64);
    Err(Failure::UnsupportedInput(format!(
        "a value is larger than {limit}; use --sql for a dump, or --nul for several values"
    )))
}
