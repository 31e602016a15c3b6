//! The folder of a clone.

use std::fs;
use std::io;
use std::path::PathBuf;

use wpclone_clone_proxy::fastcgi::PhpSocket;

use crate::files::{create_dir, remove_all, sync_dir, temporary};
use crate::users::{Ids, chown, uid_of};

/// PHP's error log, in a clone's `log`.
pub(crate) const PHP_LOG: &str = "php.log";

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
        self.folder.join("www")
    }

    /// WordPress itself.
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

    /// Nonces of login links that were used, until the links expire.
    pub(crate) fn login(&self) -> PathBuf {
        self.folder.join("login")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join("run")
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

    /// Removes everything but the record, so that it is still known what the rest was.
    pub(crate) fn remove_content(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let record = self.record();
        for entry in entries {
            let path = entry?.path();
            if path != record {
                remove_all(&path)?;
            }
        }
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
    create_dir(&paths.folder, 0o711)?;
    create_dir(&paths.www(), 0o750)?;
    // The user's group may enter it, but not replace wp-config.php.
    chown(&paths.www(), user.map(Ids::readable_by_group))?;
    for folder in [paths.tmp(), paths.log(), paths.login(), paths.run()] {
        create_dir(&folder, 0o700)?;
        chown(&folder, user)?;
    }
    Ok(())
}
