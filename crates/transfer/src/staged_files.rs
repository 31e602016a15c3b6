//! The files of a root that the target has stored so far, in the order of the source's index.

use std::cmp::Ordering;
use std::collections::VecDeque;

use wpclone_migrator::{AdaptiveBatch, ClientError, ContentDigest, Cursor, Entry, EntryKind, Import, Root};

use crate::error::TransferError;

/// A stream of the files of a root that the target has stored.
pub(crate) struct StagedFiles<'a> {
    import: &'a Import,
    root: Root,
    batch_size: AdaptiveBatch,
    page: VecDeque<Entry>,
    cursor: Option<Cursor>,
    /// Whether the last page was read.
    ended: bool,
}

impl<'a> StagedFiles<'a> {
    /// All files, with their digests.
    pub(crate) fn all(import: &'a Import, root: Root) -> Self {
        let (page, cursor, ended) = (VecDeque::new(), None, false);
        Self { import, root, batch_size: import.adaptive_batch(), page, cursor, ended }
    }

    /// No files: nothing was sent yet.
    pub(crate) fn none(import: &'a Import, root: Root) -> Self {
        Self { ended: true, ..Self::all(import, root) }
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
        while self.page.is_empty() && !self.ended {
            let next = self.import.staged(self.root, true, self.cursor.as_ref(), &mut self.batch_size).await;
            let next = next.map_err(TransferError::Target)?;
            if next.cursor.is_some() && next.cursor == self.cursor {
                let stays = ClientError::Malformed("a cursor that stays where it was");
                return Err(TransferError::Target(stays));
            }
            self.page.extend(next.entries.into_iter().filter(|entry| entry.kind == EntryKind::File));
            (self.ended, self.cursor) = (next.cursor.is_none(), next.cursor);
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

/// The order of an index: by path components, compared as bytes.
fn index_order(one: &[u8], other: &[u8]) -> Ordering {
    let names = |path: &'_ [u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    names(one).cmp(&names(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ordered_component_by_component() {
        let sorted: [&[u8]; 6] = [b"a", b"a/b", b"a/b/c", b"a/c", b"a.txt", b"b"];
        for pair in sorted.windows(2) {
            assert_eq!(index_order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }
}
