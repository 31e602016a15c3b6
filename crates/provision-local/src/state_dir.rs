//! The state folder: its layout and its lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use wpclone_provision::CloneName;

use crate::blocking::run_blocking;
use crate::clone_paths::ClonePaths;
use crate::files::write_atomically;
use crate::seccomp::SyscallFilter;

/// The number of the layout that this version reads and writes. It changes when an older version could not work with the
/// folder, or this one not with an older folder.
const LAYOUT: u32 = 1;
/// A socket's path has at most 107 bytes (unix(7)), and ours need this many below the state folder.
const SOCKET_SUFFIX_BYTES: usize = 52;

/// The paths in the state folder.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    root: PathBuf,
}

/// The lock of the state folder. It is released when this is dropped.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Runs blocking work that writes to the state folder. The lock is held until the work has ended, even when nobody
    /// waits for it any more.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let lock = Arc::clone(self);
        run_blocking(move || {
            let _lock = lock;
            work()
        })
        .await
    }
}

impl StateDir {
    /// Creates the folder if it is missing and checks that it can be used. `other_users` says whether other users' programs
    /// have to enter it.
    ///
    /// # Errors
    /// Why it cannot be used. A folder of another layout is left untouched.
    pub(crate) fn open(root: &Path, other_users: bool) -> Result<Self, String> {
        let name = || format!("the state folder {}", root.display());
        let failed = |e: io::Error| format!("{} cannot be used: {e}", name());
        if !root.is_absolute() {
            return Err(format!("{} is not an absolute path", name()));
        }
        if root.as_os_str().len() + SOCKET_SUFFIX_BYTES > 107 {
            let most = 107 - SOCKET_SUFFIX_BYTES;
            return Err(format!("{} has a path of more than {most} bytes, too long for sockets", name()));
        }
        if root.to_str().is_none_or(|p| p.contains(['"', '\'', '\\', '\n', ':', ';', '$'])) {
            return Err(format!(
                "{} has a character in its path that configuration files do not allow",
                name()
            ));
        }
        let dir = Self { root: root.to_owned() };
        dir.check_layout()?;
        DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(failed)?;
        let found = fs::metadata(root).map_err(failed)?;
        let me = rustix::process::geteuid().as_raw();
        if (found.uid() != me && found.uid() != 0) || found.mode() & 0o022 != 0 {
            return Err(format!("{} can be written by other users", name()));
        }
        if other_users {
            fs::set_permissions(root, fs::Permissions::from_mode(0o711)).map_err(failed)?;
            let closed = |dir: &&Path| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 == 0);
            if let Some(dir) = root.ancestors().find(closed) {
                let dir = dir.display();
                return Err(format!("{} is in {dir}, which the users of clones cannot enter", name()));
            }
        }
        Ok(dir)
    }

    /// Checks that the folder has our layout, or nothing in it that has one.
    fn check_layout(&self) -> Result<(), String> {
        let name = self.root.display();
        match fs::read_to_string(self.layout()) {
            Ok(text) if text.trim().parse() == Ok(LAYOUT) => Ok(()),
            Ok(text) => {
                let found: String = text.trim().chars().take(20).collect();
                Err(format!(
                    "the state folder {name} has layout `{found}`, and this version knows only {LAYOUT}: use the version \
                     that wrote it, or another WPCLONE_STATE_DIR"
                ))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parts =
                    [self.clones(), self.deleted(), self.mariadb(), self.template(), self.root.join("gone")];
                match parts.iter().find(|path| fs::symlink_metadata(path).is_ok()) {
                    None => Ok(()),
                    Some(part) => Err(format!(
                        "the state folder {name} has no layout number, but contains {}: another version wrote it, or it \
                         is another program's; use another WPCLONE_STATE_DIR",
                        part.display()
                    )),
                }
            }
            Err(error) => Err(format!("the layout of the state folder {name} cannot be read: {error}")),
        }
    }

    /// Takes the lock and writes the layout number into a new folder. `None` when another process has the lock.
    pub(crate) fn lock(&self) -> Result<Option<StateLock>, String> {
        let failed = |e: io::Error| format!("the state folder cannot be locked: {e}");
        let path = self.root.join("lock");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        }
        // Again, now that nobody else writes.
        self.check_layout()?;
        if !self.layout().exists() {
            write_atomically(&self.layout(), format!("{LAYOUT}\n").as_bytes(), 0o644).map_err(failed)?;
        }
        Ok(Some(StateLock { _file: file }))
    }

    fn layout(&self) -> PathBuf {
        self.root.join("layout")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn clones(&self) -> PathBuf {
        self.root.join("clones")
    }

    /// The paths of a clone.
    pub(crate) fn clone_paths(&self, name: &CloneName) -> ClonePaths {
        ClonePaths::new(self.clones().join(name.as_str()), name.as_str())
    }

    /// The paths that WordPress is installed in for the template; used like a clone's.
    pub(crate) fn template_paths(&self) -> ClonePaths {
        const NAME: &str = "template";
        ClonePaths::new(self.clones().join(NAME), NAME)
    }

    /// Tombstones of deleted clones.
    pub(crate) fn deleted(&self) -> PathBuf {
        self.root.join("deleted")
    }

    /// Which of the clones' users was given out last.
    pub(crate) fn last_slot(&self) -> PathBuf {
        self.root.join("last-slot")
    }

    pub(crate) fn mariadb(&self) -> PathBuf {
        self.root.join("mariadb")
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.root.join("template")
    }

    /// PHP of ours that all clones use.
    pub(crate) fn clone_runtime(&self) -> PathBuf {
        self.root.join("clone-runtime")
    }

    /// A filter of system calls for programs in sandboxes.
    pub(crate) fn seccomp_filter(&self, filter: SyscallFilter) -> PathBuf {
        self.root.join(match filter {
            SyscallFilter::Database => "seccomp-database.bpf",
            SyscallFilter::Php => "seccomp-php.bpf",
        })
    }

    /// The /etc/hosts of programs in sandboxes.
    pub(crate) fn sandbox_hosts(&self) -> PathBuf {
        self.root.join("hosts")
    }

    /// The supervisors' folders.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_that_nobody_waits_for_still_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir { root: folder.path().to_owned() };
        let lock = Arc::new(dir.lock().unwrap().expect("nobody has it"));
        let ((begins, begun), (ends, end)) = (mpsc::channel(), mpsc::channel::<()>());
        let (writer, writing) = (Arc::clone(&lock), move || {
            begins.send(()).unwrap();
            end.recv().map_err(io::Error::other)
        });
        let waiting = tokio::spawn(async move { writer.run_blocking(writing).await });
        tokio::task::yield_now().await;
        begun.recv_timeout(LIMIT).unwrap();
        waiting.abort();
        waiting.await.unwrap_err();
        drop(lock);
        assert!(dir.lock().unwrap().is_none(), "it still writes");
        ends.send(()).unwrap();
        let deadline = Instant::now() + LIMIT;
        while dir.lock().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it has ended");
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_folder_of_another_layout_is_refused_and_left_untouched() {
        let contents = |root: &Path| {
            let mut names: Vec<_> = fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            (names, fs::metadata(root).unwrap().mode(), fs::metadata(root).unwrap().mtime_nsec())
        };
        let root = |prepare: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            prepare(folder.path());
            folder
        };
        let write = |layout: &'static str| move |root: &Path| fs::write(root.join("layout"), layout).unwrap();
        for (folder, expected) in [
            (root(&write("2")), "layout `2`"),
            (root(&write("")), "layout ``"),
            (root(&|root| fs::create_dir(root.join("clones")).unwrap()), "no layout number"),
            (root(&|root| fs::create_dir(root.join("layout")).unwrap()), "cannot be read"),
        ] {
            let before = contents(folder.path());
            let refused = StateDir::open(folder.path(), false).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
            assert_eq!(contents(folder.path()), before);
        }
        let new = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let dir = StateDir::open(new.path(), false).unwrap();
            drop(dir.lock().unwrap().unwrap());
            fs::create_dir_all(dir.clones()).unwrap();
        }
        assert_eq!(fs::read_to_string(new.path().join("layout")).unwrap(), "1\n");
    }
}
