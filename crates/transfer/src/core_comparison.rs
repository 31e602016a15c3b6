//! Whether both sides have the same WordPress core files.

use std::collections::HashMap;

use wpclone_migrator::{ContentDigest, Entry, EntryKind};

/// The most core files of a site that are compared. WordPress has some 3,500.
const MAX_CORE_FILES: usize = 50_000;

/// Compares the WordPress core files of both sides, from indexes with digests.
#[derive(Default)]
pub(crate) struct CoreComparison {
    target: HashMap<Vec<u8>, (u64, Option<ContentDigest>)>,
    differs: bool,
    /// Entries of both sides.
    entries: usize,
}

impl CoreComparison {
    /// Whether there are more entries than a WordPress has: then the sides count as different.
    pub(crate) fn is_full(&self) -> bool {
        self.entries > 2 * MAX_CORE_FILES
    }

    pub(crate) fn add_target(&mut self, entries: Vec<Entry>) {
        self.entries += entries.len();
        let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
        self.target.extend(files.map(|entry| (entry.path, (entry.size, entry.digest))));
    }

    pub(crate) fn add_source(&mut self, entries: &[Entry]) {
        self.entries += entries.len();
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            self.differs |= self.target.remove(&entry.path) != Some((entry.size, entry.digest));
        }
    }

    pub(crate) fn differs(&self) -> bool {
        self.differs || !self.target.is_empty() || self.is_full()
    }
}
