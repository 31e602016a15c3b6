//! Folders that exist as long as their supervisor.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use wpclone_beneath::remove_tree;

use crate::processes::kill_orphans;

/// How long removing one folder may take: a supervisor has to end soon, also on a busy machine without leaving the folder.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long removing folders may take in one sweep.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);

/// A unique path below `base`: `PREFIX-PID-START-NUMBER`.
#[must_use]
pub fn unique_folder(base: &Path, prefix: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = fs::metadata("/proc/self").map(|m| m.ctime_nsec()).unwrap_or_default();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    base.join(format!("{prefix}-{}-{start:x}-{number}", std::process::id()))
}

/// The process that has chosen a name as [`unique_folder`] does.
#[must_use]
pub fn creator_of(name: &str) -> Option<u32> {
    name.rsplit('-').nth(2)?.parse().ok()
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// Checks that only we can write to the base folder: it is a real folder of ours (or of root) that others cannot write. Its
/// path can be guessed, so another user may have created it first.
fn check_base(base: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(base)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw() || found.uid() == 0;
    if found.is_dir() && ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let what = format!("{} is not a folder that only this user can write", base.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// Opens a lock file; it follows no link and does not block on a named pipe.
fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    // Who can open the file can hold its lock.
    File::options().read(true).write(create).create(create).mode(0o600).custom_flags(flags).open(path)
}

/// The folder of a lock file, if its name has the form of [`unique_folder`]: nothing else is ever removed.
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
    /// Creates the folder, readable by us alone. When it will be given to another user, that user can pass through the
    /// base folder, but not list it. The lock comes first: a folder without one is left over.
    pub(crate) fn create(path: &Path, is_for_other_user: bool) -> io::Result<Self> {
        let lock = loop {
            match Self::lock(path, is_for_other_user) {
                Ok(Some(lock)) => break lock,
                // The last supervisor of the base folder has just removed it, or a sweep the lock file: try again.
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        };
        fs::DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// `None` when a sweep unlinked the file between opening and locking.
    fn lock(path: &Path, is_for_other_user: bool) -> io::Result<Option<File>> {
        if let Some(base) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(base)?;
            check_base(base)?;
            if is_for_other_user && fs::metadata(base)?.mode() & 0o001 == 0 {
                fs::set_permissions(base, fs::Permissions::from_mode(0o711))?;
            }
        }
        let lock = open_lock(&lock_path(path), true)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let held = lock.metadata()?.ino();
        Ok(fs::metadata(lock_path(path)).is_ok_and(|m| m.ino() == held).then_some(lock))
    }

    /// Removes the folder, then its lock file.
    ///
    /// # Errors
    /// Something is left of the folder; a sweep goes on.
    pub(crate) fn remove(self) -> io::Result<()> {
        remove(&self.path, Instant::now() + REMOVAL_TIMEOUT)
    }
}

/// The program wrote what is in the folder, and it may be anything.
fn remove(folder: &Path, deadline: Instant) -> io::Result<()> {
    let removed = remove_tree(folder, deadline);
    if removed.is_ok() {
        let _ = fs::remove_file(lock_path(folder));
        // The base folder is removed with the last of its folders, unless others use it too, such as /tmp (sticky).
        if let Some(base) = folder.parent()
            && fs::metadata(base).is_ok_and(|m| m.mode() & 0o1000 == 0)
        {
            let _ = fs::remove_dir(base);
        }
    }
    removed
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Folders that it removed.
    pub removed: usize,
    /// Folders of supervisors that run.
    pub running: usize,
    /// Folders that cannot be removed, or not within the time of one sweep. The next sweep goes on.
    pub left: usize,
}

/// Removes folders below `base` whose supervisor is gone, and kills orphans that belong to them. There are none if `base`
/// does not exist. A folder that cannot be removed keeps no other one.
///
/// # Errors
/// `base` cannot be read, or others can write it.
pub fn sweep(base: &Path) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let entries = match fs::read_dir(base) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(swept),
        entries => entries?,
    };
    check_base(base)?;
    let end = Instant::now() + SWEEP_TIMEOUT;
    for path in entries.flatten().map(|e| e.path()) {
        let Some(folder) = folder_of(&path) else { continue };
        let Ok(lock) = open_lock(&path, false) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            swept.running += 1;
            continue;
        }
        kill_orphans(&folder);
        match remove(&folder, end.min(Instant::now() + REMOVAL_TIMEOUT)) {
            Ok(()) => swept.removed += 1,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "the folder of a program that ended cannot be removed");
                swept.left += 1;
            }
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, mkdirat};

    use super::*;

    #[test]
    fn the_name_of_a_unique_folder_tells_its_creator() {
        let folder = unique_folder(Path::new("/base"), "some-prefix");
        assert_eq!(creator_of(folder.file_name().unwrap().to_str().unwrap()), Some(std::process::id()));
        assert_eq!(creator_of("wpclone-worker"), None);
    }

    #[test]
    fn a_sweep_removes_nothing_outside_of_its_folder() {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().join("base");
        fs::DirBuilder::new().mode(0o700).create(&base).unwrap();
        fs::write(outer.path().join("precious"), "").unwrap();
        for name in ["...lock", "..lock", ".lock", "a.b.lock"] {
            fs::write(base.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(outer.path().join("precious"), base.join("link.lock")).unwrap();
        assert_eq!(sweep(&base).unwrap(), Swept::default());
        assert!(outer.path().join("precious").exists() && base.join("...lock").exists());
    }

    #[test]
    fn a_folder_that_is_nested_deeper_than_a_path_can_be_long_is_removed() {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().join("base");
        let path = base.join("task-1");
        let folder = Folder::create(&path, false).unwrap();
        let mut inner = rustix::fs::open(&path, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            mkdirat(&inner, "d", Mode::RWXU).unwrap();
            inner = rustix::fs::openat(&inner, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(inner);
        // On a stack that a recursion would exceed.
        let remove = std::thread::Builder::new().stack_size(256 << 10).spawn(|| folder.remove()).unwrap();
        // What the time of one removal does not suffice for, sweeps remove.
        let _ = remove.join().unwrap();
        let end = Instant::now() + Duration::from_secs(120);
        while base.exists() && Instant::now() < end {
            sweep(&base).unwrap();
        }
        assert!(!base.exists());
    }

    #[test]
    fn a_base_folder_that_others_can_write_is_rejected() {
        let outer = tempfile::tempdir().unwrap();
        let (open, link) = (outer.path().join("open"), outer.path().join("link"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink(&open, &link).unwrap();
        for base in [open, link] {
            assert!(sweep(&base).is_err(), "{}", base.display());
            assert!(Folder::create(&base.join("task-1"), false).is_err(), "{}", base.display());
        }
    }
}
