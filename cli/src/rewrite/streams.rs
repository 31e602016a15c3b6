//! Standard input and output of a rewrite.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

const INPUT: &str = "standard input cannot be read";
const OUTPUT: &str = "standard output cannot be written";

/// Unbuffered standard input and output, and a progress bar.
pub(super) struct Streams {
    input: File,
    /// The first bytes of the input, until they are read.
    peeked: Vec<u8>,
    /// Number of bytes read.
    pub(super) length: u64,
    output: File,
    bar: Option<ProgressBar>,
}

impl Streams {
    pub(super) fn open() -> Result<Self, Failure> {
        let file = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
        let input = file(&std::io::stdin()).map_err(|error| Failure::Stream { what: INPUT, error })?;
        let output = file(&std::io::stdout()).map_err(|error| Failure::Stream { what: OUTPUT, error })?;
        // No bar when a person types the input or reads the output.
        let quiet = input.is_terminal() || output.is_terminal() || !std::io::stderr().is_terminal();
        let bar = (!quiet).then(|| bar(&input));
        Ok(Self { input, peeked: Vec::new(), length: 0, output, bar })
    }

    /// The first bytes of the input, which are still to be read; fewer if it is shorter.
    pub(super) fn peek(&mut self, length: usize) -> Result<&[u8], Failure> {
        let (mut start, mut end) = (vec![0; length], 0);
        while end < length {
            match self.read_input(&mut start[end..])? {
                0 => break,
                more => end += more,
            }
        }
        start.truncate(end);
        self.peeked = start;
        Ok(&self.peeked)
    }

    /// Reads a chunk; returns 0 at the end.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<usize, Failure> {
        let length = if self.peeked.is_empty() {
            self.read_input(chunk)?
        } else {
            let length = self.peeked.len().min(chunk.len());
            chunk[..length].copy_from_slice(&self.peeked[..length]);
            self.peeked.drain(..length);
            length
        };
        self.length += length as u64;
        Ok(length)
    }

    fn read_input(&mut self, chunk: &mut [u8]) -> Result<usize, Failure> {
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

    pub(super) fn write(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.output.write_all(text).map_err(|error| Failure::Stream { what: OUTPUT, error })
    }

    pub(super) fn end(&self) {
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
