//! Which clones were deleted.

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use wpclone_provision::CloneName;

use crate::files::{create_dir, write_atomically};

/// How long it is remembered that a clone was deleted.
const RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// A file for each clone that was deleted, with the time. It is written before anything is removed: what is found of a
/// clone that has one may be removed, whatever can be read of it.
#[derive(Debug, Clone)]
pub(crate) struct Tombstones {
    folder: PathBuf,
}

impl Tombstones {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Remembers that a clone is deleted.
    pub(crate) fn add(&self, name: &CloneName, now: Timestamp) -> io::Result<()> {
        create_dir(&self.folder, 0o700)?;
        write_atomically(&self.folder.join(name.as_str()), now.to_string().as_bytes(), 0o600)
    }

    /// Whether the clone was deleted, however long ago; an operator may have said so with an empty file.
    pub(crate) fn contains(&self, name: &CloneName) -> io::Result<bool> {
        match fs::symlink_metadata(self.folder.join(name.as_str())) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the clone was deleted within the last day.
    pub(crate) fn is_recent(&self, name: &CloneName, now: Timestamp) -> bool {
        self.deleted_at(name).is_some_and(|at| now.duration_since(at) < RETENTION)
    }

    fn deleted_at(&self, name: &CloneName) -> Option<Timestamp> {
        let path = self.folder.join(name.as_str());
        let written = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        written.or_else(|| Timestamp::try_from(fs::metadata(path).ok()?.modified().ok()?).ok())
    }

    /// Forgets clones that were deleted long ago, unless something of them `remains`.
    pub(crate) fn forget_old(&self, now: Timestamp, remains: impl Fn(&CloneName) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_str().and_then(|n| n.parse::<CloneName>().ok());
            if name.is_some_and(|name| !self.is_recent(&name, now) && !remains(&name)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
