//! Which clones were deleted.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use wpclone_provision::CloneName;

use crate::files::{create_dir, write_atomically};

/// How long it is remembered that a clone was deleted.
const RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// A file for each clone that was deleted, with the time. It is written before anything is removed: what is found of a
/// clone that has one may be removed, whatever can be read of it. All calls but [`Self::is_recent`] block.
#[derive(Debug, Clone)]
pub(crate) struct Tombstones {
    folder: PathBuf,
    /// When the clones were deleted, as the folder said last: it is asked with each request for a clone that does not exist.
    deleted: Arc<Mutex<HashMap<CloneName, Timestamp>>>,
}

impl Tombstones {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, deleted: Arc::default() }
    }

    /// Remembers that a clone is deleted, in memory even when the disk does not take it.
    pub(crate) fn add(&self, name: &CloneName, now: Timestamp) -> io::Result<()> {
        self.deleted.lock().insert(name.clone(), now);
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

    /// Whether the clone was deleted within the last day, as far as is known without the disk.
    pub(crate) fn is_recent(&self, name: &CloneName, now: Timestamp) -> bool {
        self.deleted.lock().get(name).is_some_and(|at| is_recent(*at, now))
    }

    fn deleted_at(&self, name: &CloneName) -> Option<Timestamp> {
        let path = self.folder.join(name.as_str());
        let written = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        written.or_else(|| Timestamp::try_from(fs::metadata(path).ok()?.modified().ok()?).ok())
    }

    /// Reads the folder, and forgets clones that were deleted long ago, unless something of them `remains`.
    pub(crate) fn refresh(&self, now: Timestamp, remains: impl Fn(&CloneName) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Some(name) = entry.file_name().to_str().and_then(|n| n.parse::<CloneName>().ok()) else {
                continue;
            };
            let known = self.deleted.lock().get(&name).copied();
            let Some(at) = known.or_else(|| self.deleted_at(&name)) else { continue };
            if !is_recent(at, now) && !remains(&name) {
                let _ = fs::remove_file(entry.path());
            }
            self.deleted.lock().insert(name, at);
        }
        self.deleted.lock().retain(|_, at| is_recent(*at, now));
    }
}

fn is_recent(deleted_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(deleted_at) < RETENTION
}
