//! The queue of files to fetch from the source.

use std::collections::VecDeque;

use wpclone_migrator::{ContentHasher, Entry, FileRequest, Root};

use crate::address_search::AddressSearch;

/// The most files in one request.
pub(crate) const MAX_FETCH_FILES: usize = 200;

/// A file to fetch.
pub(crate) struct QueuedFile {
    pub(crate) entry: Entry,
    /// How often it has been read from its beginning.
    pub(crate) reads: u32,
}

/// Files to fetch, and how much of the first one was received.
#[derive(Default)]
pub(crate) struct FetchQueue {
    pub(crate) files: VecDeque<QueuedFile>,
    pub(crate) offset: u64,
    pub(crate) hasher: ContentHasher,
    /// The first file's search for addresses.
    pub(crate) search: AddressSearch,
    /// What was received of the first file, if it is to be rewritten.
    pub(crate) text: Vec<u8>,
    /// Size of all files in the queue.
    pub(crate) bytes: u64,
}

impl FetchQueue {
    pub(crate) fn push(&mut self, entry: Entry, reads: u32) {
        self.bytes = self.bytes.saturating_add(entry.size);
        self.files.push_back(QueuedFile { entry, reads });
    }

    pub(crate) fn pop(&mut self) -> Option<QueuedFile> {
        let first = self.files.pop_front()?;
        self.bytes = self.bytes.saturating_sub(first.entry.size);
        (self.offset, self.hasher) = (0, ContentHasher::default());
        (self.search, self.text) = Default::default();
        Some(first)
    }

    pub(crate) fn requests(&self, root: Root) -> Vec<FileRequest> {
        let requests = |(n, QueuedFile { entry, .. }): (usize, &QueuedFile)| FileRequest {
            id: entry.id(root),
            offset: if n == 0 { self.offset } else { 0 },
            size: entry.size,
            mtime: entry.mtime,
        };
        self.files.iter().take(MAX_FETCH_FILES).enumerate().map(requests).collect()
    }
}
