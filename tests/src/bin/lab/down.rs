//! Finding a running `up`, and stopping it from another terminal.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use wpclone_tests::{LabError, Result};

/// How long an `up` may take to end.
const LIMIT: Duration = Duration::from_secs(300);

/// A running `up`. Process ids are reused: only together with the start time does one identify a process.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Running {
    pid: u32,
    /// In ticks since the machine started: proc(5), field 22 of `stat`.
    started: u64,
}

impl Running {
    fn file() -> PathBuf {
        PathBuf::from(".dev/up.json")
    }

    /// The `up` of this checkout, if it still runs.
    pub(crate) fn find() -> Option<Self> {
        let noted: Self = serde_json::from_slice(&fs::read(Self::file()).ok()?).ok()?;
        (start_of(noted.pid) == Some(noted.started)).then_some(noted)
    }

    /// Records this process.
    pub(crate) fn note() -> Result<Self> {
        let pid = std::process::id();
        let started = start_of(pid).ok_or_else(|| io::Error::other("/proc is not readable"))?;
        let me = Self { pid, started };
        fs::create_dir_all(".dev")?;
        fs::write(Self::file(), serde_json::to_vec(&me)?)?;
        Ok(me)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

/// Removes the note of a process that ends.
impl Drop for Running {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            let _ = fs::remove_file(Self::file());
        }
    }
}

fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; after it comes field 3.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18)?.parse().ok()).flatten()
}

/// Ends the `up` of this checkout and waits until it is gone.
pub(crate) fn down() -> Result {
    let Some(running) = Running::find() else {
        println!("nothing runs");
        return Ok(());
    };
    if let Some(pid) = Pid::from_raw(running.pid.cast_signed()) {
        kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
    }
    let end = Instant::now() + LIMIT;
    while start_of(running.pid) == Some(running.started) {
        if Instant::now() > end {
            let what = format!("process {} to end", running.pid);
            return Err(LabError::Late { what, limit: LIMIT, log: String::new() });
        }
        thread::sleep(Duration::from_millis(50));
    }
    println!("ended");
    Ok(())
}
