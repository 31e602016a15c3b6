//! What clones take of the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::process::setpriority_process;
use wpclone_beneath::{Dir, Usage};
use wpclone_provision::CloneName;
use wpclone_supervisor::ProcessTable;

use crate::local_clone::LocalClone;
use crate::state_dir::{StateDir, StateLock};

/// How long a measurement may take when it is urgent.
pub(crate) const URGENT_TIMEOUT: Duration = Duration::from_secs(3);
/// The same when nothing is urgent.
const QUIET_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a folder is measured again in which something was moved meanwhile. Who moves things without end hides them.
const ATTEMPTS: u32 = 5;
/// How nice a measurement is to other threads when nothing is urgent.
const QUIET_NICENESS: i32 = 15;

/// What is free on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// Bytes, for users other than root.
    pub(crate) bytes: u64,
    /// Inodes, and how many there are in all; `None` where the file system has no fixed number.
    pub(crate) files: Option<(u64, u64)>,
}

impl FreeSpace {
    /// What is free on the disk of this folder.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let disk = statvfs(folder)?;
        let files = (disk.f_files > 0).then_some((disk.f_favail, disk.f_files));
        Ok(Self { bytes: disk.f_bavail.saturating_mul(disk.f_frsize), files })
    }

    /// The same as an amount; no inodes where their number is not fixed.
    pub(crate) fn as_usage(self) -> Usage {
        Usage { bytes: self.bytes, files: self.files.map_or(0, |(free, _)| free) }
    }
}

/// What a clone takes, and what its programs write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CloneUse {
    /// Its files and tables, and the files that its programs have open after they were removed. `None` when that cannot be
    /// measured, or not in time, perhaps because its programs move what is being measured.
    pub(crate) usage: Option<Usage>,
    /// Whether its programs have removed files that cannot be seen.
    pub(crate) hides_files: bool,
    /// Whether its programs may have more removed files than could be looked at.
    pub(crate) is_incomplete: bool,
    /// Bytes that its programs that run now, and those that these have started, have written.
    pub(crate) written: u64,
}

/// What each clone takes.
pub(crate) type Clones = BTreeMap<CloneName, CloneUse>;

/// Measures these clones, one after the other, on a thread of its own.
pub(crate) async fn measure(
    state_dir: &StateDir,
    lock: &Arc<StateLock>,
    clones: Vec<Arc<LocalClone>>,
    limit: Usage,
    is_urgent: bool,
) -> Clones {
    let (state_dir, lock) = (state_dir.clone(), Arc::clone(lock));
    let (sender, measured) = tokio::sync::oneshot::channel();
    let work = move || {
        let _lock = lock;
        if !is_urgent {
            // Of this thread alone, on Linux. It ends with the measurement.
            let _ = setpriority_process(None, QUIET_NICENESS);
        }
        let deadline = Instant::now() + if is_urgent { URGENT_TIMEOUT } else { QUIET_TIMEOUT };
        let _ = sender.send(measure_all(&state_dir, &clones, limit, deadline));
    };
    if let Err(error) = std::thread::Builder::new().name("disk-usage".into()).spawn(work) {
        tracing::warn!(%error, "the disk usage of clones cannot be measured");
    }
    measured.await.unwrap_or_default()
}

fn measure_all(state_dir: &StateDir, clones: &[Arc<LocalClone>], limit: Usage, deadline: Instant) -> Clones {
    let processes = ProcessTable::read();
    let device = fs::metadata(state_dir.root()).map(|found| found.dev()).unwrap_or_default();
    let mut all = BTreeMap::new();
    for (clone, left) in clones.iter().zip((1..=clones.len()).rev()) {
        // Each has its part of the time, and what those before it have left of theirs.
        let remaining = deadline.saturating_duration_since(Instant::now());
        let deadline = Instant::now() + remaining / u32::try_from(left).unwrap_or(u32::MAX);
        let (name, mut removed, mut found) = (clone.name(), Usage::default(), CloneUse::default());
        for supervisor in clone.supervisors() {
            let storage = processes.storage_use(supervisor, device, deadline);
            removed += Usage { bytes: storage.removed_bytes, files: storage.removed_files };
            found.hides_files |= storage.hides_files;
            found.is_incomplete |= storage.is_incomplete;
            found.written += storage.written_bytes;
        }
        // Last: where there was no time for all processes, there is none for the folders.
        found.usage = folders_of(state_dir, &name, limit, deadline);
        if let Some(usage) = &mut found.usage {
            *usage += removed;
        }
        all.insert(name, found);
    }
    all
}

/// What a clone's folders take; `None` when that cannot be measured.
fn folders_of(state_dir: &StateDir, name: &CloneName, limit: Usage, deadline: Instant) -> Option<Usage> {
    let mut usage = Usage::default();
    for folder in folders(state_dir, name) {
        match measure_folder(&folder, limit, deadline) {
            Ok(of_folder) => usage += of_folder,
            Err(error) => {
                tracing::debug!(clone = %name, folder = %folder.display(), %error, "a folder cannot be measured");
                return None;
            }
        }
    }
    Some(usage)
}

/// What a folder takes; nothing if there is none.
fn measure_folder(folder: &Path, limit: Usage, deadline: Instant) -> io::Result<Usage> {
    let measure = || match Dir::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Usage::default()),
        opened => opened.and_then(|dir| dir.measure(limit, deadline)),
    };
    let mut measured = measure();
    for _ in 1..ATTEMPTS {
        if measured.is_ok() {
            break;
        }
        measured = measure();
    }
    measured
}

/// The folders that only this clone fills: its own, that of its own database server, and that of its schema in the shared
/// one.
fn folders(state_dir: &StateDir, name: &CloneName) -> [PathBuf; 3] {
    let mariadb = state_dir.mariadb();
    [
        state_dir.clone_paths(name).folder,
        mariadb.join(name.as_str()),
        mariadb.join("shared/data").join(schema_folder(name.as_str())),
    ]
}

/// The name of a schema's folder: MariaDB writes everything but ASCII letters, digits and `_` as `@` and four hex digits
/// ("Identifier to File Name Mapping").
pub(crate) fn schema_folder(schema: &str) -> String {
    let encoded = |c: char| match c {
        '0'..='9' | 'a'..='z' | 'A'..='Z' | '_' => c.to_string(),
        c => format!("@{:04x}", u32::from(c)),
    };
    schema.chars().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schemas_folder_has_the_name_that_mariadb_gives_it() {
        assert_eq!(schema_folder("clone-20261123-a_b"), "clone@002d20261123@002da_b");
    }
}
