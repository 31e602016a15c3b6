//! The baseline: a PHP process that replaces addresses like WP-CLI.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// Limit for one pass, which takes about a second.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A PHP process with the rows in memory.
pub(crate) struct Baseline {
    program: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    pub(crate) version: String,
}

/// The result of one pass over all rows.
pub(crate) struct Pass {
    /// CPU time.
    pub(crate) seconds: f64,
    pub(crate) changed: u64,
}

impl Baseline {
    /// Starts PHP and waits until it has read the rows.
    pub(crate) fn start(rows: &[Vec<u8>]) -> Result<Self> {
        let mut file = BufWriter::new(NamedTempFile::new()?);
        for row in rows {
            file.write_all(&u32::try_from(row.len())?.to_le_bytes())?;
            file.write_all(row)?;
        }
        let file = file.into_inner()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.php");
        let mut program = Command::new("php")
            .args(["-d", "memory_limit=-1"])
            .arg(script)
            .arg(file.path())
            .args([crate::OLD, crate::NEW])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("php does not start; measure without it: --alone")?;
        let (Some(commands), Some(output)) = (program.stdin.take(), program.stdout.take()) else {
            bail!("php has no pipes")
        };
        let (send, answers) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.try_for_each(|line| send.send(line)).is_ok()
        });
        let mut baseline = Self { program, commands, answers, version: String::new() };
        // PHP has read the rows now, so the file can be deleted.
        baseline.version = baseline.answer()?;
        Ok(baseline)
    }

    /// Rewrites all rows, or only those that contain the old host.
    pub(crate) fn pass(&mut self, only_matching: bool) -> Result<Pass> {
        writeln!(self.commands, "{}", if only_matching { "matching" } else { "all" })?;
        let answer = self.answer()?;
        let (seconds, changed) = answer.split_once(' ').context("two numbers")?;
        Ok(Pass { seconds: seconds.parse()?, changed: changed.parse()? })
    }

    fn answer(&mut self) -> Result<String> {
        self.answers.recv_timeout(TIMEOUT).context("php does not answer")
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
