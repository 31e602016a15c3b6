//! What the processes of a program do with a disk, by /proc.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{major, minor};
use rustix::process::getpid;

use crate::bubblewrap::is_in_system_folder;
use crate::processes::{ProcFile, all, parent};

/// The links to files in a thread's folder in /proc: its working folder, its root folder, and its program.
const LINKS: [&str; 3] = ["cwd", "root", "exe"];
/// The folders with links to files: open ones, and mapped ones.
const LINK_FOLDERS: [&str; 2] = ["fd", "map_files"];

/// What the processes of a program do with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageUse {
    /// Bytes of removed files of any kind, folders among them, that are still open, mapped, or a working folder.
    pub removed_bytes: u64,
    /// The number of these files, and of Unix sockets in network namespaces other than that of this process: each may be bound
    /// to a file that was removed, which nothing in /proc tells.
    pub removed_files: u64,
    /// Whether a process has a removed file mapped whose size this process may not see. To see it a process needs
    /// `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`: proc_pid_map_files(5).
    pub hides_files: bool,
    /// Whether there may be more for another reason: a process may not be looked at, or looking at all took too long.
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
            removed.add_sockets(pid);
            // A thread can have open files of its own, and a process whose first thread has ended shows none.
            threads(pid).for_each(|thread| removed.look_at(thread));
        }
        removed.found
    }

    /// The locks of files that a child of this process and all its descendants hold, by their open files: proc_pid_fdinfo(5).
    /// Counting ends beyond `most`.
    #[must_use]
    pub fn locks_of_open_files(&self, child: u32, most: usize) -> usize {
        let mut locks = 0;
        // A thread can have open files of its own.
        for thread in self.descendants(child).into_iter().flat_map(threads) {
            for file in fs::read_dir(format!("/proc/{thread}/fdinfo")).into_iter().flatten().flatten() {
                let Ok(info) = File::open(file.path()).and_then(ProcFile::read) else { continue };
                locks += info
                    .content
                    .split(|byte| *byte == b'\n')
                    .filter(|line| line.starts_with(b"lock:"))
                    .count();
                if locks > most {
                    return locks;
                }
            }
        }
        locks
    }

    /// A child of this process and all its descendants; nothing when it is not a child of ours any more.
    #[must_use]
    pub fn descendants(&self, child: u32) -> Vec<i32> {
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

/// Removed files that threads have open or mapped, or work in.
struct RemovedFiles {
    device: u64,
    deadline: Instant,
    seen: HashSet<u64>,
    /// The network namespaces whose sockets have been counted, and our own, whose sockets are anybody's.
    networks: HashSet<PathBuf>,
    found: StorageUse,
}

impl RemovedFiles {
    fn new(device: u64, deadline: Instant) -> Self {
        let networks = fs::read_link("/proc/self/ns/net").into_iter().collect();
        Self { device, deadline, seen: HashSet::new(), networks, found: StorageUse::default() }
    }

    /// Adds those of a thread. What ends meanwhile has none.
    fn look_at(&mut self, thread: i32) {
        let folder = PathBuf::from(format!("/proc/{thread}"));
        for link in LINKS {
            if let Err(error) = self.add(&folder.join(link)) {
                self.found.is_incomplete |= is_denied(&error);
            }
        }
        for links in LINK_FOLDERS {
            let links = match fs::read_dir(folder.join(links)) {
                Ok(links) => links,
                Err(error) => {
                    self.found.is_incomplete |= is_denied(&error);
                    continue;
                }
            };
            for link in links.flatten() {
                if self.is_late() {
                    return;
                }
                if let Err(error) = self.add(&link.path())
                    && is_denied(&error)
                {
                    // Only root may follow the links of mappings.
                    self.add_mappings(&folder);
                    break;
                }
            }
        }
    }

    /// Adds what a link of the kernel leads to, if that was removed. This opens nothing.
    fn add(&mut self, link: &Path) -> io::Result<()> {
        let file = fs::metadata(link)?;
        let is_removed = file.nlink() == 0 && file.dev() == self.device;
        if is_removed && self.seen.insert(file.ino()) {
            self.found.removed_bytes += file.blocks().saturating_mul(512);
            self.found.removed_files += 1;
        }
        Ok(())
    }

    /// Looks through the list of a thread's mappings: proc_pid_maps(5).
    fn add_mappings(&mut self, folder: &Path) {
        // The process may have ended.
        let Ok(list) = File::open(folder.join("maps")).and_then(ProcFile::read) else { return };
        self.found.hides_files |= has_removed_mapping(&list.content, self.device);
        self.found.is_incomplete |= !list.is_complete;
    }

    /// Adds the Unix sockets of a process' network namespace.
    fn add_sockets(&mut self, pid: i32) {
        let Ok(network) = fs::read_link(format!("/proc/{pid}/ns/net")) else { return };
        if self.networks.insert(network) {
            self.found.removed_files += self.lines(Path::new(&format!("/proc/{pid}/net/unix")));
        }
    }

    /// The number of lines of a file of any length, but for the first one, which is a heading.
    fn lines(&mut self, file: &Path) -> u64 {
        // The process may have ended.
        let Ok(mut file) = File::open(file) else { return 0 };
        let (mut lines, mut buffer) = (0_u64, vec![0; 64 << 10]);
        while let Ok(length @ 1..) = file.read(&mut buffer)
            && !self.is_late()
        {
            lines += buffer[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        lines.saturating_sub(1)
    }

    /// Whether looking at all takes too long.
    fn is_late(&mut self) -> bool {
        let is_late = Instant::now() >= self.deadline;
        self.found.is_incomplete |= is_late;
        is_late
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Whether a list of mappings has a removed file of this device: proc_pid_maps(5). Those of the machine's programs, which an
/// update has replaced, do not count.
fn has_removed_mapping(maps: &[u8], device: u64) -> bool {
    let device = format!("{:02x}:{:02x}", major(device), minor(device));
    let is_removed = |map: &[u8]| {
        let map = String::from_utf8_lossy(map);
        let mut fields = map.splitn(6, ' ');
        let is_of_device = fields.nth(3) == Some(&device);
        let path = fields.nth(1).unwrap_or_default().trim_start();
        is_of_device && path.ends_with(" (deleted)") && !is_in_system_folder(Path::new(path))
    };
    maps.split(|byte| *byte == b'\n').any(is_removed)
}
