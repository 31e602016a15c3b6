//! Finds and kills processes by /proc.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};

/// How often processes that start others meanwhile are killed again.
const MAX_KILL_ROUNDS: u32 = 50;
const KILL_INTERVAL: Duration = Duration::from_millis(10);

/// The most that is read of a file of /proc. The list of a process' mappings or mounts has a path in each line, and a process
/// can make paths of any length.
const MAX_PROC_FILE_BYTES: u64 = 16 << 20;

/// What was read of a file of /proc.
pub(crate) struct ProcFile {
    pub(crate) content: Vec<u8>,
    /// Whether that is all.
    pub(crate) is_complete: bool,
}

impl ProcFile {
    /// Reads such a file, up to a bound.
    pub(crate) fn read(file: impl Read) -> io::Result<Self> {
        let mut content = Vec::new();
        file.take(MAX_PROC_FILE_BYTES + 1).read_to_end(&mut content)?;
        let is_complete = content.len() as u64 <= MAX_PROC_FILE_BYTES;
        Ok(Self { content, is_complete })
    }
}

/// The ids of all visible processes.
pub(crate) fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// The parent of a process and its name, which has at most 15 bytes; `None` when it is gone.
fn parent_and_name(pid: i32) -> Option<(i32, String)> {
    // proc(5): the name is in parentheses and may contain any character, so count from the last one.
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let parent = stat[end + 1..].split_whitespace().nth(1)?.parse().ok()?;
    Some((parent, stat.get(start + 1..end)?.to_owned()))
}

/// The parent of a process; `None` when it is gone.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    parent_and_name(pid).map(|(parent, _)| parent)
}

/// The children of a process.
pub(crate) fn children(of: i32) -> Vec<i32> {
    all().filter(|pid| parent(*pid) == Some(of)).collect()
}

/// A process and all its descendants.
fn tree(root: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = all().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(child, p)| *p == pid && !found.contains(child))
                .map(|(child, _)| *child)
                .collect::<Vec<_>>(),
        );
        next += 1;
    }
    found
}

/// All descendants of a process.
#[must_use]
pub fn descendants(root: u32) -> Vec<u32> {
    let Ok(root) = i32::try_from(root) else { return Vec::new() };
    tree(root).into_iter().skip(1).filter_map(|pid| u32::try_from(pid).ok()).collect()
}

/// The processes whose real, effective, saved or file system user is this one.
fn processes_of(uid: u32) -> impl Iterator<Item = i32> {
    all().filter(move |pid| {
        // The owner of /proc/PID is root for processes that may not be dumped, so the ids are read from the file.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        ids.split_whitespace().any(|id| id.parse() == Ok(uid))
    })
}

/// Whether any process runs as this user.
#[must_use]
pub fn has_processes_of(uid: u32) -> bool {
    processes_of(uid).next().is_some()
}

/// Kills all processes of a user.
pub fn kill_processes_of(uid: u32) {
    processes_of(uid).for_each(kill);
}

/// The file in a supervisor's folder that all its descendants inherit as an open file.
pub(crate) fn tag_file(folder: &Path) -> PathBuf {
    folder.join(".supervised")
}

pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended already.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Whether the mount namespace of a process has a mount of this folder, as that of a sandbox has.
fn has_mount(pid: i32, folder: &Path) -> bool {
    // proc(5): the fifth field is the mount point.
    let folder = folder.as_os_str().as_bytes();
    let is_mount = |mount: &[u8]| mount.split(|byte| *byte == b' ').nth(4) == Some(folder);
    // Of a list without end, what is read is the beginning: a sandbox is created with its mounts.
    let mounts = File::open(format!("/proc/{pid}/mountinfo")).and_then(ProcFile::read);
    mounts.is_ok_and(|mounts| mounts.content.split(|byte| *byte == b'\n').any(is_mount))
}

/// Kills the orphans of a killed supervisor: every process whose working folder is this folder or below it, that has it as
/// TMPDIR, that holds its [`tag_file`] open, or whose sandbox has it as a mount. Returns their ids.
pub(crate) fn kill_orphans(folder: &Path) -> Vec<i32> {
    let mut killed = Vec::new();
    let (tmpdir, tag) = (format!("TMPDIR={}", folder.display()), tag_file(folder));
    let own = getpid().as_raw_nonzero().get();
    for pid in all().filter(|pid| *pid != own) {
        let inside = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        let has_tmpdir = || {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|b| *b == 0).any(|var| var == tmpdir.as_bytes()))
        };
        // Daemons change their working folder and overwrite their environment, but keep inherited files open.
        let is_tagged = || {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|to| to == tag))
        };
        if inside || has_tmpdir() || is_tagged() || has_mount(pid, folder) {
            kill(pid);
            killed.push(pid);
        }
    }
    killed
}

/// Reaps a child that has ended. Returns false while it is a running child.
pub(crate) fn reaped(pid: i32) -> bool {
    Pid::from_raw(pid).is_none_or(|pid| !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)))
}

/// Reaps orphans of a killed supervisor that the kernel has killed with it and that were reparented to us: children of ours
/// with the program's name or its user, if that is not ours. Returns how many there are that have not ended yet.
pub(crate) fn reap_orphans(program: &Path, user: Option<u32>) -> usize {
    let (own, our_user) = (getpid().as_raw_nonzero().get(), rustix::process::geteuid().as_raw());
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    let user = user.filter(|uid| *uid != our_user);
    let is_orphan = |pid: &i32| {
        let found = parent_and_name(*pid).filter(|(parent, _)| *parent == own);
        found.is_some_and(|(_, name)| name == program || user.is_some_and(|uid| real_user(*pid) == Some(uid)))
    };
    all().filter(is_orphan).filter(|pid| !reaped(*pid)).count()
}

/// The real user id of a process, also of one that has ended and is not reaped.
fn real_user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

/// Resident memory of a process and all its descendants in bytes; shared pages count proportionally (PSS).
#[must_use]
pub fn resident_memory(root: u32) -> u64 {
    let Ok(root) = i32::try_from(root) else { return 0 };
    tree(root).into_iter().filter_map(proportional_set_size).sum()
}

/// Kills all descendants of a child of this process, but not the child itself: a supervisor then ends by itself.
pub fn kill_descendants(child: u32) {
    let (own, Ok(child)) = (getpid().as_raw_nonzero().get(), i32::try_from(child)) else { return };
    for _ in 0..MAX_KILL_ROUNDS {
        // A process that is not our child any more may be anybody's.
        if parent(child) != Some(own) {
            return;
        }
        let descendants = tree(child);
        if descendants.len() == 1 {
            return;
        }
        descendants.into_iter().skip(1).for_each(kill);
        std::thread::sleep(KILL_INTERVAL);
    }
}

fn proportional_set_size(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = rollup.lines().find_map(|l| l.strip_prefix("Pss:"))?.split_whitespace().next()?;
    kib.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_proc_is_read_up_to_a_bound() {
        let whole = ProcFile::read(io::repeat(b'a').take(MAX_PROC_FILE_BYTES)).unwrap();
        assert_eq!((whole.content.len() as u64, whole.is_complete), (MAX_PROC_FILE_BYTES, true));
        let endless = ProcFile::read(io::repeat(b'a')).unwrap();
        assert!(!endless.is_complete && endless.content.len() as u64 <= MAX_PROC_FILE_BYTES + 1);
    }
}
