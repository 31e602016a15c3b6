//! Folders that live as long as their guard.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::process::kill_strays;

/// A path below `base` that nobody has: `PREFIX-PID-NUMBER`.
pub fn unique_folder(base: &Path, prefix: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = fs::metadata("/proc/self")
        .map(|m| m.ctime_nsec())
        .unwrap_or_default();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    base.join(format!("{prefix}-{}-{start:x}-{number}", std::process::id()))
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// A folder with its lock held.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder, readable by us alone. The lock comes first: a folder without one is a left-over.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        let lock = loop {
            match Self::lock(path) {
                Ok(Some(lock)) => break lock,
                // The last guard of the base folder has just removed it, or a sweep the lock file: once more.
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        };
        fs::DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// `None` when a sweep unlinked the file between our two steps: then the lock is on nothing.
    fn lock(path: &Path) -> io::Result<Option<File>> {
        if let Some(base) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(base)?;
        }
        let lock = File::create(lock_path(path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let held = lock.metadata()?.ino();
        Ok(fs::metadata(lock_path(path))
            .is_ok_and(|m| m.ino() == held)
            .then_some(lock))
    }

    /// Removes the folder, then its lock file.
    pub(crate) fn remove(self) {
        remove(&self.path);
    }
}

fn remove(folder: &Path) {
    // A process that was just killed may have left a file being made: a second pass takes it.
    for _ in 0..3 {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    if !folder.exists() {
        let _ = fs::remove_file(lock_path(folder));
        // The base folder goes with the last of its folders; not one that others use too, such as /tmp (sticky).
        if let Some(base) = folder.parent()
            && fs::metadata(base).is_ok_and(|m| m.mode() & 0o1000 == 0)
        {
            let _ = fs::remove_dir(base);
        }
    }
}

/// Clears folders below `base` whose guard is gone, and kills what still runs in them. Returns how many.
///
/// # Errors
/// `base` cannot be read; that there is none is fine.
pub fn sweep(base: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(base) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut cleared = 0;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "lock") {
            continue;
        }
        let folder = path.with_extension("");
        let Ok(lock) = File::open(&path) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        kill_strays(&folder);
        remove(&folder);
        cleared += 1;
    }
    Ok(cleared)
}
