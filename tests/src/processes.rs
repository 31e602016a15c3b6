//! Processes of the machine, for tests that kill them, and the load average.

use std::fs;

use rustix::process::Signal;

use crate::service::{processes, signal, state_and_parent};

/// Ids of all processes whose command line has all of these texts in it.
#[must_use]
pub fn processes_with(texts: &[&str]) -> Vec<u32> {
    let command = |pid: u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ")
    };
    let has_all = |pid: &u32| {
        let command = command(*pid);
        texts.iter().all(|text| command.contains(text))
    };
    processes().filter(has_all).collect()
}

/// Ids of the running child processes of a process.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let is = |pid: &u32| state_and_parent(*pid).is_some_and(|(state, p)| p == parent && state != 'Z');
    processes().filter(is).collect()
}

/// Kills a process. One that has already ended is ignored.
pub fn kill9(pid: u32) {
    signal(pid, Signal::KILL);
}

/// The load average of the last minute (proc_loadavg(5)).
#[must_use]
pub fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or("unknown").to_owned()
}
