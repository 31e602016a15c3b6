//! `wpclone rewrite`: standard input to standard output, with a site's addresses moved.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wpclone_rewrite::{DumpOptions, Report, Rewriter};

use crate::failure::Failure;
use crate::text::{bytes, json};

mod args;
mod show;

pub(crate) use args::{HELP, RewriteArgs};

/// So much is read at once.
const CHUNK: usize = 1 << 20;
/// The largest value, in memory as a whole.
const LARGEST: usize = 256 << 20;

const INPUT: &str = "standard input cannot be read";
const OUTPUT: &str = "standard output cannot be written";

/// Does what was typed.
///
/// # Errors
/// Arguments that contradict each other; input that cannot be read or is too large, output that cannot be written.
pub(crate) fn run(args: &RewriteArgs, json_report: bool) -> Result<u8, Failure> {
    let rewriter = args.rewriter()?;
    let dump = args.dump_options(LARGEST);
    let mut flow = Flow::open()?;
    let mut report = Report::default();
    match dump {
        Some(options) => sql(&rewriter, options, &mut flow, &mut report)?,
        None => values(&rewriter, args.nul, &mut flow, &mut report)?,
    }
    flow.end();
    let told = if json_report || args.wants_json() {
        json(&serde_json::to_value(&report).unwrap_or_default())
    } else {
        show::report(&report)
    };
    // Who closed it does not want to know.
    let _ = std::io::stderr().write_all(told.as_bytes());
    Ok(0)
}

fn sql(
    rewriter: &Rewriter,
    options: DumpOptions,
    flow: &mut Flow,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut dump = rewriter.dump(options);
    let (mut chunk, mut out) = (vec![0; CHUNK], Vec::new());
    loop {
        let length = flow.read(&mut chunk)?;
        if length == 0 {
            dump.finish(&mut out, report);
            return flow.write(&out);
        }
        dump.push(&chunk[..length], &mut out, report);
        flow.write(&out)?;
        out.clear();
        // One long value is no reason to need its room for ever.
        out.shrink_to(4 * CHUNK);
    }
}

/// One value, or several with a NUL behind each.
fn values(rewriter: &Rewriter, nul: bool, flow: &mut Flow, report: &mut Report) -> Result<(), Failure> {
    let (mut chunk, mut held, mut out) = (vec![0; CHUNK], Vec::new(), Vec::new());
    loop {
        let length = flow.read(&mut chunk)?;
        let mut rest = &chunk[..length];
        while let Some(end) = memchr::memchr(0, rest).filter(|_| nul) {
            held.extend_from_slice(&rest[..end]);
            check(held.len())?;
            out.extend_from_slice(&rewriter.value(&held, report));
            out.push(0);
            held.clear();
            rest = &rest[end + 1..];
        }
        held.extend_from_slice(rest);
        check(held.len())?;
        if length == 0 {
            if !nul || !held.is_empty() {
                out.extend_from_slice(&rewriter.value(&held, report));
            }
            return flow.write(&out);
        }
        flow.write(&out)?;
        out.clear();
    }
}

fn check(length: usize) -> Result<(), Failure> {
    if length <= LARGEST {
        return Ok(());
    }
    let most = bytes(LARGEST as u64);
    Err(Failure::TooLarge(format!(
        "a value is larger than {most}: is it a dump (--sql), or several (--nul)?"
    )))
}

/// Standard input and output without buffers of their own, and how far it is.
struct Flow {
    input: File,
    output: File,
    bar: Option<ProgressBar>,
}

impl Flow {
    fn open() -> Result<Self, Failure> {
        let file = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
        let input = file(&std::io::stdin()).map_err(|error| Failure::Stream { what: INPUT, error })?;
        let output = file(&std::io::stdout()).map_err(|error| Failure::Stream { what: OUTPUT, error })?;
        // Where people type or read, a bar would be in the way.
        let quiet = input.is_terminal() || output.is_terminal() || !std::io::stderr().is_terminal();
        let bar = (!quiet).then(|| bar(&input));
        Ok(Self { input, output, bar })
    }

    /// Reads some; nothing at the end.
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

impl Drop for Flow {
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
