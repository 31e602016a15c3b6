//! The folder of a clone.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use wpclone_beneath::{Dir, NewFile, remove_tree};
use wpclone_clone_proxy::fastcgi::PhpSocket;

use crate::files::{REMOVAL_TIMEOUT, create_closed_dir, sync_dir, temporary};
use crate::users::{Ids, uid_of};

/// PHP's error log, in a clone's `log`.
pub(crate) const PHP_LOG: &str = "php.log";

// The folders in a clone's folder. The clone's PHP writes all of them but the first, in which it writes its WordPress:
// whatever is opened below them is opened by `wpclone_beneath`.
const WWW: &str = "www";
const TMP: &str = "tmp";
const LOG: &str = "log";
const LOGIN: &str = "login";
const RUN: &str = "run";

/// The paths in a clone's folder.
#[derive(Debug, Clone)]
pub(crate) struct ClonePaths {
    /// The folder itself; the last part of its path is the clone's name.
    pub(crate) folder: PathBuf,
    name: String,
}

impl ClonePaths {
    pub(crate) fn new(folder: PathBuf, name: &str) -> Self {
        Self { folder, name: name.to_owned() }
    }

    /// The clone's record.
    pub(crate) fn record(&self) -> PathBuf {
        self.folder.join("clone.json")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.folder.join("secrets.json")
    }

    /// The parent of WordPress' folder (of ABSPATH), where wp-config.php is.
    pub(crate) fn www(&self) -> PathBuf {
        self.folder.join(WWW)
    }

    /// WordPress itself.
    pub(crate) fn tree(&self) -> PathBuf {
        self.www().join(&self.name)
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.folder.join(TMP)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// Nonces of login links that were used, until the links expire.
    pub(crate) fn login(&self) -> PathBuf {
        self.folder.join(LOGIN)
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join(RUN)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run().join("php.sock")
    }

    /// The same, to connect to.
    pub(crate) fn php_socket(&self, user: Option<Ids>) -> PhpSocket {
        PhpSocket { path: self.socket(), uid: uid_of(user) }
    }

    /// The output of php-fpm itself. Not in `log`, which belongs to the clone's user: root would write through its links.
    pub(crate) fn fpm_output(&self) -> PathBuf {
        self.folder.join("fpm.out")
    }

    pub(crate) fn fpm_conf(&self) -> PathBuf {
        self.folder.join("fpm.conf")
    }

    /// The folder of the socket to the database; only we write in it.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join("db")
    }

    /// The socket that leads to the clone's database server.
    pub(crate) fn database_socket(&self) -> PathBuf {
        self.database().join("sock")
    }

    /// Whether the folder holds nothing but what comes before the record: nothing, or the record's temporary file.
    pub(crate) fn is_without_content(&self) -> io::Result<bool> {
        let new = temporary(&self.record());
        for entry in fs::read_dir(&self.folder)? {
            if entry?.path() != new {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes everything but the record, so that it is still known what the rest was. What cannot be removed does not
    /// keep the rest. It ends after [`REMOVAL_TIMEOUT`]; the next call goes on.
    pub(crate) fn remove_content(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let (record, deadline, mut removed) = (self.record(), Instant::now() + REMOVAL_TIMEOUT, Ok(()));
        for entry in entries {
            let path = entry?.path();
            if path != record {
                removed = removed.and(remove_tree(&path, deadline));
            }
        }
        removed?;
        // The record must not be gone from the disk before the rest is.
        sync_dir(&self.folder)
    }

    /// Removes the record and then the folder, which must be empty otherwise.
    pub(crate) fn remove_record(&self) -> io::Result<()> {
        let missing_is_fine = |removed: io::Result<()>| match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        missing_is_fine(fs::remove_file(self.record()))?;
        missing_is_fine(fs::remove_dir(&self.folder))
    }
}

/// Creates the folders in a clone's folder: `www` is ours, those that PHP writes belong to the clone's user.
pub(crate) fn create_clone_dirs(paths: &ClonePaths, user: Option<Ids>) -> io::Result<()> {
    create_closed_dir(&paths.folder, user)?;
    let folder = Dir::open(&paths.folder)?;
    // The user's group may enter it, but not replace wp-config.php.
    folder.create_dir(WWW, new_file(0o750, user.map(Ids::readable_by_group)))?;
    for name in [TMP, LOG, LOGIN, RUN] {
        folder.create_dir(name, new_file(0o700, user))?;
    }
    Ok(())
}

/// A new file or folder of a user; ours without one.
pub(crate) fn new_file(mode: u32, user: Option<Ids>) -> NewFile {
    NewFile { mode, owner: user.map(|ids| (ids.uid, ids.gid)) }
}
