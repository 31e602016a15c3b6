//! Folders that live as long as their guard.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::process::kill_strays;

/// A path below `base` that nobody has: `PREFIX-PID-NUMBER`.
pub fn unique_folder(base: &Path, prefix: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = fs::metadata("/proc/self").map(|m| m.ctime_nsec()).unwrap_or_default();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    base.join(format!("{prefix}-{}-{start:x}-{number}", std::process::id()))
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// Whether nobody but us can put anything into the base folder: a real folder of ours (or of root) that others cannot
/// write. Its path may be guessed, so another user may have made it first.
fn check_base(base: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(base)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw() || found.uid() == 0;
    if found.is_dir() && ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let what = format!("{} is not a folder that only we can write", base.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// Opens a lock file; never through a link, and never waiting for a pipe.
fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    File::options().read(true).write(create).create(create).custom_flags(flags).open(path)
}

/// The folder that a lock file stands for, by the form of [`unique_folder`]'s names: nothing else is ever removed.
fn folder_of(lock: &Path) -> Option<PathBuf> {
    let name = lock.file_name()?.to_str()?.strip_suffix(".lock")?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    plain.then(|| lock.with_file_name(name))
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
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// `None` when a sweep unlinked the file between our two steps: then the lock is on nothing.
    fn lock(path: &Path) -> io::Result<Option<File>> {
        if let Some(base) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(base)?;
            check_base(base)?;
        }
        let lock = open_lock(&lock_path(path), true)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let held = lock.metadata()?.ino();
        Ok(fs::metadata(lock_path(path)).is_ok_and(|m| m.ino() == held).then_some(lock))
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
/// `base` cannot be read, or others may write it; that there is none is fine.
pub fn sweep(base: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(base) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    check_base(base)?;
    let mut cleared = 0;
    for path in entries.flatten().map(|e| e.path()) {
        let Some(folder) = folder_of(&path) else { continue };
        let Ok(lock) = open_lock(&path, false) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        kill_strays(&folder);
        remove(&folder);
        cleared += 1;
    }
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_sweep_stays_in_its_folder() {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().join("base");
        fs::DirBuilder::new().mode(0o700).create(&base).unwrap();
        fs::write(outer.path().join("precious"), "").unwrap();
        for name in ["...lock", "..lock", ".lock", "a.b.lock"] {
            fs::write(base.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(outer.path().join("precious"), base.join("link.lock")).unwrap();
        assert_eq!(sweep(&base).unwrap(), 0);
        assert!(outer.path().join("precious").exists() && base.join("...lock").exists());
    }

    #[test]
    fn a_base_that_others_can_write_is_not_used() {
        let outer = tempfile::tempdir().unwrap();
        let (open, link) = (outer.path().join("open"), outer.path().join("link"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink(&open, &link).unwrap();
        for base in [open, link] {
            assert!(sweep(&base).is_err(), "{}", base.display());
            assert!(Folder::make(&base.join("task-1")).is_err(), "{}", base.display());
        }
    }
}
