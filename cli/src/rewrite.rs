//! `wpclone rewrite`: copies standard input to standard output and replaces a site's URLs.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wpclone_rewrite::{DumpOptions, Report, Rewriter};

use crate::failure::Failure;
use crate::text::{format_bytes, json};

mod args;
mod table;

pub(crate) use args::{HELP, RewriteArgs};

/// Number of bytes per read.
const CHUNK: usize = 1 << 20;
/// Largest value in bytes; a value is held in memory.
const MAX_VALUE: usize = 256 << 20;

const INPUT: &str = "standard input cannot be read";
const OUTPUT: &str = "standard output cannot be written";

/// Runs the command.
///
/// # Errors
/// Invalid arguments, a value that is too large, or a failed read or write.
pub(crate) fn run(args: &RewriteArgs, json_report: bool) -> Result<u8, Failure> {
    let rewriter = args.rewriter()?;
    let dump = args.dump_options(MAX_VALUE);
    let mut streams = Streams::open()?;
    let mut report = Report::default();
    match dump {
        Some(options) => rewrite_dump(&rewriter, options, &mut streams, &mut report)?,
        None => rewrite_values(&rewriter, args.nul, &mut streams, &mut report)?,
    }
    streams.end();
    let text = if json_report || args.wants_json() {
        json(&serde_json::to_value(&report).unwrap_or_default())
    } else {
        table::report(&report)
    };
    // A closed standard error is not a failure of the command.
    let _ = std::io::stderr().write_all(text.as_bytes());
    Ok(0)
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
    Err(Failure::TooLarge(format!(
        "a value is larger than {limit}; use --sql for a dump, or --nul for several values"
    )))
}

/// Unbuffered standard input and output, and a progress bar.
struct Streams {
    input: File,
    output: File,
    bar: Option<ProgressBar>,
}

impl Streams {
    fn open() -> Result<Self, Failure> {
        let file = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
        let input = file(&std::io::stdin()).map_err(|error| Failure::Stream { what: INPUT, error })?;
        let output = file(&std::io::stdout()).map_err(|error| Failure::Stream { what: OUTPUT, error })?;
        // No bar when a person types the input or reads the output.
        let quiet = input.is_terminal() || output.is_terminal() || !std::io::stderr().is_terminal();
        let bar = (!quiet).then(|| bar(&input));
        Ok(Self { input, output, bar })
    }

    /// Reads a chunk; returns 0 at the end.
    fn read(&mut self, chunk: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.input.read(chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Stream { what: INPUT, error }),
                Ok(length) => {
                    if let Some(bar) = &self.bar {
                        bar.inc(length as u64);
                    }
                    return Ok(length);
                }
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.output.write_all(text).map_err(|error| Failure::Stream { what: OUTPUT, error })
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.end();
    }
}

fn bar(input: &File) -> ProgressBar {
    let length = input.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if length.is_some() {
        "{spinner} [{bar:25}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}"
    } else {
        "{spinner} {decimal_bytes}, {decimal_bytes_per_sec}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
