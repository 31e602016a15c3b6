//! The users that browsers run as. Where the worker is root each browser has one of its own, so that the pages of one task
//! can reach neither the worker nor the browser of another task.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use wpclone_supervisor::{BROWSER_USERS, has_processes_of, kill_processes_of};

/// Where all workers of the machine lock the users that their browsers run as.
const LOCKS: &str = "/run/wpclone-browser-users";

/// The users of this worker's browsers.
#[derive(Debug)]
pub(super) enum BrowserUsers {
    /// The worker's own.
    Own,
    /// One for each browser, from this id on.
    PerBrowser { first: u32, next: AtomicU32, locks: PathBuf },
}

/// The user of one browser. No other browser gets it before this is dropped.
#[derive(Debug)]
pub(super) struct BrowserUser {
    pub(super) uid: u32,
    /// Present where it is not the worker's own.
    lock: Option<File>,
}

impl BrowserUsers {
    /// The users that this process can start browsers as.
    pub(super) fn find() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        let first = BROWSER_USERS.first_usable().map_err(|e| format!("/proc/self/uid_map: {e}"))?;
        let first = first.ok_or("this user namespace has no user ids for browsers")?;
        Self::from(first, Path::new(LOCKS)).map_err(|error| format!("{LOCKS}: {error}"))
    }

    fn from(first: u32, locks: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(locks) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(locks)?;
        if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(io::Error::other("it is not a folder that only the worker can write"));
        }
        // A user is taken again as late as possible, whichever worker had it.
        let start = getrandom::u32().map_err(io::Error::other)? % BROWSER_USERS.length;
        Ok(Self::PerBrowser { first, next: AtomicU32::new(start), locks: locks.to_owned() })
    }

    /// A user that nothing runs as.
    pub(super) fn acquire(&self) -> io::Result<BrowserUser> {
        let Self::PerBrowser { first, next, locks } = self else {
            return Ok(BrowserUser { uid: geteuid().as_raw(), lock: None });
        };
        for _ in 0..BROWSER_USERS.length {
            let uid = first + next.fetch_add(1, Ordering::Relaxed) % BROWSER_USERS.length;
            let file = locks.join(uid.to_string());
            let lock =
                File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(file)?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if has_processes_of(uid) {
                // Its worker was killed and its supervisor too. Another user is taken; this one is free once they ended.
                kill_processes_of(uid);
                continue;
            }
            return Ok(BrowserUser { uid, lock: Some(lock) });
        }
        Err(io::Error::other("all users of browsers are in use"))
    }
}

impl BrowserUser {
    /// User and group to start the browser as; `None` for the worker's own.
    pub(super) fn run_as(&self) -> Option<(u32, u32)> {
        self.lock.is_some().then_some((self.uid, self.uid))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn as_root_two_browsers_have_two_users_and_a_user_with_a_process_is_not_taken() {
        if !geteuid().is_root() {
            let own = BrowserUsers::find().unwrap().acquire().unwrap();
            assert_eq!((own.uid, own.run_as()), (geteuid().as_raw(), None));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let first = BROWSER_USERS.first_usable().unwrap().unwrap();
        let locks = folder.path().join("locks");
        let (a, b) = (BrowserUsers::from(first, &locks).unwrap(), BrowserUsers::from(first, &locks).unwrap());
        let at_zero = |users: &BrowserUsers| match users {
            BrowserUsers::PerBrowser { next, .. } => next.store(0, Ordering::Relaxed),
            BrowserUsers::Own => panic!("the worker is root"),
        };
        at_zero(&a);
        at_zero(&b);
        let (one, two) = (a.acquire().unwrap(), b.acquire().unwrap());
        assert_ne!(one.uid, two.uid);
        assert!([one.uid, two.uid].iter().all(|uid| (first..first + BROWSER_USERS.length).contains(uid)));

        // What outlives a browser keeps its user from being taken, and is ended.
        let uid = one.uid;
        let mut left = Command::new("setpriv");
        left.args([
            "--reuid",
            &uid.to_string(),
            "--regid",
            &uid.to_string(),
            "--clear-groups",
            "sleep",
            "300",
        ]);
        let mut left = left.stdin(Stdio::null()).spawn().unwrap();
        while !has_processes_of(uid) {
            assert!(left.try_wait().unwrap().is_none(), "setpriv failed");
            std::thread::yield_now();
        }
        drop(one);
        at_zero(&b);
        let next = b.acquire().unwrap();
        assert!(next.uid != uid && next.uid != two.uid);
        assert!(!left.wait().unwrap().success());
        drop(next);
        at_zero(&b);
        assert_eq!(b.acquire().unwrap().uid, uid);
    }

    #[test]
    fn a_folder_of_locks_that_others_can_write_is_rejected() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(BrowserUsers::from(1_900_100_000, folder.path()).is_err());
    }
}
