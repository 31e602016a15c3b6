//! The state folder, and who holds it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock, statvfs};

use crate::CloneName;

/// The longest path of a socket is 107 bytes (unix(7)); ours need so many of them below the state folder.
const SOCKETS_NEED: usize = 52;
/// What has to be left on the disk, whatever is made.
pub(crate) const RESERVE: u64 = 512 << 20;

/// The state folder's layout.
#[derive(Debug, Clone)]
pub(crate) struct Dirs {
    root: PathBuf,
}

/// The lock of a state folder, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Permit {
    _lock: File,
}

impl Permit {
    /// Runs what blocks. What still writes when nobody waits for it any more keeps the next owner out.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let held = Arc::clone(self);
        super::blocking(move || {
            let _held = held;
            work()
        })
        .await
    }
}

impl Dirs {
    /// Makes the folder if need be, and looks whether it can be used; `others` says whether other users have to pass.
    pub(crate) fn open(root: &Path, others: bool) -> Result<Self, String> {
        let name = || format!("the state folder {}", root.display());
        let failed = |e: io::Error| format!("{} cannot be used: {e}", name());
        if !root.is_absolute() {
            return Err(format!("{} is not an absolute path", name()));
        }
        if root.as_os_str().len() + SOCKETS_NEED > 107 {
            let most = 107 - SOCKETS_NEED;
            return Err(format!("{} has a path of more than {most} bytes, too long for sockets", name()));
        }
        if root.to_str().is_none_or(|p| p.contains(['"', '\'', '\\', '\n', ':', ';', '$'])) {
            return Err(format!("{} has a character in its path that configurations do not take", name()));
        }
        DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(failed)?;
        let found = fs::metadata(root).map_err(failed)?;
        let me = rustix::process::geteuid().as_raw();
        if (found.uid() != me && found.uid() != 0) || found.mode() & 0o022 != 0 {
            return Err(format!("{} can be written by others", name()));
        }
        if others {
            fs::set_permissions(root, fs::Permissions::from_mode(0o711)).map_err(failed)?;
            let closed = |dir: &&Path| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 == 0);
            if let Some(dir) = root.ancestors().find(closed) {
                let dir = dir.display();
                return Err(format!("{} lies in {dir}, which the users of clones cannot pass", name()));
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Takes the lock, unless another process has it.
    pub(crate) fn lock(&self) -> io::Result<Option<Permit>> {
        let path = self.root.join("lock");
        let lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Permit { _lock: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn clones(&self) -> PathBuf {
        self.root.join("clones")
    }

    pub(crate) fn seat(&self, name: &str) -> Seat {
        Seat { folder: self.clones().join(name), name: name.to_owned() }
    }

    pub(crate) fn gone(&self) -> PathBuf {
        self.root.join("gone")
    }

    pub(crate) fn mariadb(&self) -> PathBuf {
        self.root.join("mariadb")
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.root.join("template")
    }

    pub(crate) fn harness(&self) -> PathBuf {
        self.root.join("harness")
    }

    /// The guards' folders.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// The folder of a clone.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) folder: PathBuf,
    name: String,
}

impl Seat {
    /// The seat that the template is made in.
    pub(crate) const TEMPLATE: &'static str = "template";

    pub(crate) fn of(dirs: &Dirs, name: &CloneName) -> Self {
        dirs.seat(name.as_str())
    }

    pub(crate) fn www(&self) -> PathBuf {
        self.folder.join("www")
    }

    /// WordPress itself: with ABSPATH's parent being `www`, where wp-config.php lies.
    pub(crate) fn tree(&self) -> PathBuf {
        self.www().join(&self.name)
    }

    pub(crate) fn wp_config(&self) -> PathBuf {
        self.www().join("wp-config.php")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Links that have logged in, until they would have expired.
    pub(crate) fn login(&self) -> PathBuf {
        self.folder.join("login")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("run/php.sock")
    }

    /// What php-fpm itself says. Not in `log`, which is the clone's: root would write through its links.
    pub(crate) fn out(&self) -> PathBuf {
        self.folder.join("fpm.out")
    }

    pub(crate) fn fpm_conf(&self) -> PathBuf {
        self.folder.join("fpm.conf")
    }
}

/// Free bytes of the disk that a folder lies on.
pub(crate) fn room(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes a folder with this mode, whatever the umask; one that is there is as good.
pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Writes a file whole or not at all, and onto the disk.
pub(crate) fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name itself has to reach the disk as well.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Removes a folder with all that is in it; that there is none is as good.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    // What still ends there may have left a file being made: again.
    let mut last = Ok(());
    for _ in 0..5 {
        last = fs::remove_dir_all(path);
        match &last {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_still_writes_keeps_the_next_owner_out() {
        let folder = tempfile::tempdir().unwrap();
        let dirs = Dirs { root: folder.path().to_owned() };
        let held = Arc::new(dirs.lock().unwrap().expect("nobody has it"));
        let ((begins, begun), (ends, end)) = (mpsc::channel(), mpsc::channel::<()>());
        let (writer, writing) = (Arc::clone(&held), move || {
            begins.send(()).unwrap();
            end.recv().map_err(io::Error::other)
        });
        let waiting = tokio::spawn(async move { writer.blocking(writing).await });
        tokio::task::yield_now().await;
        begun.recv_timeout(LIMIT).unwrap();
        // Who waited for it is gone, and so is the owner.
        waiting.abort();
        waiting.await.unwrap_err();
        drop(held);
        assert!(dirs.lock().unwrap().is_none(), "it still writes");
        ends.send(()).unwrap();
        let deadline = Instant::now() + LIMIT;
        while dirs.lock().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it has ended");
            tokio::task::yield_now().await;
        }
    }
}
