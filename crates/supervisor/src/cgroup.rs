//! Control groups of a program: cgroups(7).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::getpid;
use serde::{Deserialize, Serialize};

use crate::processes::kill;

/// How often processes of a control group are killed until it is empty.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// The file with the processes of a control group; a process that writes 0 to it joins the group.
const PROCESSES: &str = "cgroup.procs";

/// A control group for a program. Its creator has set its limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its folder. The supervisor removes it at the end.
    pub folder: PathBuf,
    /// The folder of the control group of the supervisor itself, which the program's limits must not apply to.
    pub supervisor: PathBuf,
}

/// Moves this process, which has one thread, into the program's control groups: children that it starts belong to them.
pub(crate) fn enter(cgroups: &[Cgroup]) -> io::Result<()> {
    cgroups.iter().try_for_each(|cgroup| join(&cgroup.folder))
}

/// Moves this process back.
pub(crate) fn leave(cgroups: &[Cgroup]) -> io::Result<()> {
    cgroups.iter().try_for_each(|cgroup| join(&cgroup.supervisor))
}

fn join(folder: &Path) -> io::Result<()> {
    let failed =
        |e| io::Error::other(format!("the control group {} cannot be joined: {e}", folder.display()));
    fs::write(folder.join(PROCESSES), "0").map_err(failed)
}

/// Kills everything in a control group and removes it. Removing a missing one succeeds.
///
/// # Errors
/// It was not empty in time.
pub fn remove_cgroup(folder: &Path, limit: Duration) -> io::Result<()> {
    let (end, own) = (Instant::now() + limit, getpid().as_raw_nonzero().get());
    loop {
        let processes = fs::read_to_string(folder.join(PROCESSES)).unwrap_or_default();
        processes.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != own).for_each(kill);
        match fs::remove_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if Instant::now() >= end {
                    return Err(error);
                }
                sleep(CHECK_INTERVAL);
            }
            _ => return Ok(()),
        }
    }
}
