//! The files of a root that the target has stored so far, in the order of the source's index.

use std::cmp::Ordering;
use std::collections::VecDeque;

use wpclone_migrator::{ContentDigest, Entry, EntryKind, Import, Root, StagedIndex, index_order};

use crate::error::TransferError;

/// A stream of the files of a root that the target has stored.
pub(crate) struct StagedFiles<'a> {
    /// `None` at the end.
    index: Option<StagedIndex<'a>>,
    page: VecDeque<Entry>,
}

impl<'a> StagedFiles<'a> {
    /// All files, with their digests.
    pub(crate) fn all(import: &'a Import, root: Root) -> Self {
        Self { index: Some(import.staged_index(root)), page: VecDeque::new() }
    }

    /// No files: nothing was sent yet.
    pub(crate) fn none() -> Self {
        Self { index: None, page: VecDeque::new() }
    }

    /// The next file.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, TransferError> {
        self.fill().await?;
        Ok(self.page.pop_front())
    }

    /// The next file if it is ordered before `path`. Call this until it returns `None` before sending `path`: the stream would
    /// return the file just sent otherwise.
    pub(crate) async fn before(&mut self, path: &[u8]) -> Result<Option<Entry>, TransferError> {
        self.fill().await?;
        let is_before = |entry: &mut Entry| index_order(&entry.path, path) == Ordering::Less;
        Ok(self.page.pop_front_if(is_before))
    }

    /// The next file, if it has this path.
    pub(crate) fn take(&mut self, path: &[u8]) -> Option<Entry> {
        self.page.pop_front_if(|entry| entry.path == path)
    }

    /// Whether the next file is in the directory `path`.
    pub(crate) fn is_in(&self, path: &[u8]) -> bool {
        let rest = self.page.front().and_then(|entry| entry.path.strip_prefix(path));
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    }

    async fn fill(&mut self) -> Result<(), TransferError> {
        while self.page.is_empty()
            && let Some(index) = &mut self.index
        {
            match index.next().await.map_err(TransferError::Target)? {
                Some(next) => {
                    self.page.extend(next.entries.into_iter().filter(|entry| entry.kind == EntryKind::File));
                }
                None => self.index = None,
            }
        }
        Ok(())
    }
}

/// The digest of two files, if they are equal; a zero digest means that a file could not be read. A target sets a file's time
/// when the file is complete, so an incomplete file differs.
pub(crate) fn same_digest(one: &Entry, other: &Entry) -> Option<ContentDigest> {
    let digest = one.digest.filter(|digest| *digest != ContentDigest([0; 32]))?;
    ((one.size, one.mtime, one.digest) == (other.size, other.mtime, other.digest)).then_some(digest)
}
