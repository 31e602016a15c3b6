//! What else runs on the machine: programs that others started, for those who kill them, and how busy it is.

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

/// Ids of those that a process started, and that run.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let is = |pid: &u32| state_and_parent(*pid).is_some_and(|(state, p)| p == parent && state != 'Z');
    processes().filter(is).collect()
}

/// Kills a process; one that is gone already is as good.
pub fn kill9(pid: u32) {
    signal(pid, Signal::KILL);
}

/// How busy the machine was in the last minute, as Linux says (proc_loadavg(5)).
#[must_use]
pub fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or("unknown").to_owned()
}
