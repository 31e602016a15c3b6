//! What the processes of a program do with a disk, by /proc.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use rustix::fs::{major, minor};
use rustix::process::getpid;

use crate::processes::{all, parent};

/// What the processes of a program do with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageUse {
    /// Bytes of removed files that are still open or mapped.
    pub removed_bytes: u64,
    /// The number of these files.
    pub removed_files: u64,
    /// Whether there may be more of them: a process may not be looked at, has a removed file mapped whose size this process
    /// may not see, or looking at all took too long.
    pub is_incomplete: bool,
    /// Bytes that the processes, and their children that have ended, have written to disks: proc_pid_io(5).
    pub written_bytes: u64,
}

/// All processes at one time.
#[derive(Debug)]
pub struct ProcessTable {
    children: HashMap<i32, Vec<i32>>,
}

impl ProcessTable {
    /// Reads the processes of the machine.
    #[must_use]
    pub fn read() -> Self {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for pid in all() {
            if let Some(parent) = parent(pid) {
                children.entry(parent).or_default().push(pid);
            }
        }
        Self { children }
    }

    /// What a child of this process and all its descendants do with the disk of this device number. After `deadline` no more
    /// files are looked at.
    #[must_use]
    pub fn storage_use(&self, child: u32, device: u64, deadline: Instant) -> StorageUse {
        let mut removed = RemovedFiles::new(device, deadline);
        for pid in self.descendants(child) {
            removed.found.written_bytes += written_bytes(pid).unwrap_or_default();
            // A thread can have open files of its own, and a process whose first thread has ended shows none.
            threads(pid).for_each(|thread| removed.look_at(thread));
        }
        removed.found
    }

    /// A child of this process and all its descendants; nothing when it is not a child of ours any more.
    fn descendants(&self, child: u32) -> Vec<i32> {
        let own = self.children.get(&getpid().as_raw_nonzero().get());
        let is_own = |pid: &i32| own.is_some_and(|children| children.contains(pid));
        let mut found: Vec<i32> = i32::try_from(child).into_iter().filter(is_own).collect();
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            found.extend(self.children.get(pid).into_iter().flatten().copied());
            next += 1;
        }
        found
    }
}

/// The threads of a process; each has a folder in /proc, which is not listed there.
fn threads(pid: i32) -> impl Iterator<Item = i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

fn written_bytes(pid: i32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// Removed files that threads have open or mapped.
struct RemovedFiles {
    device: u64,
    deadline: Instant,
    seen: HashSet<u64>,
    found: StorageUse,
}

impl RemovedFiles {
    fn new(device: u64, deadline: Instant) -> Self {
        Self { device, deadline, seen: HashSet::new(), found: StorageUse::default() }
    }

    /// Adds those of a thread. What ends meanwhile has none.
    fn look_at(&mut self, thread: i32) {
        for folder in ["fd", "map_files"] {
            let files = match fs::read_dir(format!("/proc/{thread}/{folder}")) {
                Ok(files) => files,
                Err(error) => {
                    self.found.is_incomplete |= is_denied(&error);
                    continue;
                }
            };
            for file in files.flatten() {
                if Instant::now() >= self.deadline {
                    self.found.is_incomplete = true;
                    return;
                }
                // This opens nothing, and follows the kernel's own reference to the file.
                match fs::metadata(file.path()) {
                    Ok(file) => self.add(&file),
                    // Only root may follow the references of mappings.
                    Err(error) if is_denied(&error) => {
                        self.found.is_incomplete |= has_removed_mapping(thread, self.device);
                        break;
                    }
                    Err(_) => {}
                }
            }
        }
    }

    fn add(&mut self, file: &fs::Metadata) {
        let is_removed = file.is_file() && file.nlink() == 0 && file.dev() == self.device;
        if is_removed && self.seen.insert(file.ino()) {
            self.found.removed_bytes += file.blocks().saturating_mul(512);
            self.found.removed_files += 1;
        }
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Whether a thread has mapped a removed file of this device: proc_pid_maps(5).
fn has_removed_mapping(thread: i32, device: u64) -> bool {
    let device = format!("{:02x}:{:02x}", major(device), minor(device));
    fs::read(format!("/proc/{thread}/maps")).is_ok_and(|maps| {
        let maps = String::from_utf8_lossy(&maps);
        maps.lines().any(|map| map.ends_with(" (deleted)") && map.split(' ').nth(3) == Some(&device))
    })
}
