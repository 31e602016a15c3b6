//! Files that the target has of a root already, in the order of the source's index: the same walk makes both.

use std::cmp::Ordering;
use std::collections::VecDeque;

use wpclone_migrator::{AdaptiveBatch, ClientError, ContentDigest, Cursor, Entry, EntryKind, Import, Root};

use crate::error::TransferError;

/// The files of a root that were stored on the target, one after the other.
pub(crate) struct StagedFiles<'a> {
    import: &'a Import,
    root: Root,
    pace: AdaptiveBatch,
    page: VecDeque<Entry>,
    cursor: Option<Cursor>,
    /// Whether no page follows.
    ended: bool,
}

impl<'a> StagedFiles<'a> {
    /// All of them, with their digests.
    pub(crate) fn all(import: &'a Import, root: Root) -> Self {
        let (page, cursor, ended) = (VecDeque::new(), None, false);
        Self { import, root, pace: import.adaptive_batch(), page, cursor, ended }
    }

    /// None, where nothing was sent yet.
    pub(crate) fn none(import: &'a Import, root: Root) -> Self {
        Self { ended: true, ..Self::all(import, root) }
    }

    /// The next file.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, TransferError> {
        self.fill().await?;
        Ok(self.page.pop_front())
    }

    /// The next file that comes before this path. It has to be asked for all of them before anything of that path is sent:
    /// else what was just sent might be taken for what was there.
    pub(crate) async fn before(&mut self, path: &[u8]) -> Result<Option<Entry>, TransferError> {
        self.fill().await?;
        let is_before = |entry: &mut Entry| order(&entry.path, path) == Ordering::Less;
        Ok(self.page.pop_front_if(is_before))
    }

    /// The file of this path, if it is the next one.
    pub(crate) fn take(&mut self, path: &[u8]) -> Option<Entry> {
        self.page.pop_front_if(|entry| entry.path == path)
    }

    /// Whether what comes next lies in a folder of this name.
    pub(crate) fn is_in(&self, path: &[u8]) -> bool {
        let rest = self.page.front().and_then(|entry| entry.path.strip_prefix(path));
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    }

    async fn fill(&mut self) -> Result<(), TransferError> {
        while self.page.is_empty() && !self.ended {
            let next = self.import.staged(self.root, true, self.cursor.as_ref(), &mut self.pace).await;
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

/// The digest of both files, if they are the same; of one that could not be read there is none. A target gives a file its
/// time last of all, so that one without it is not ready.
pub(crate) fn in_common(one: &Entry, other: &Entry) -> Option<ContentDigest> {
    let digest = one.digest.filter(|digest| *digest != ContentDigest([0; 32]))?;
    ((one.size, one.mtime, one.digest) == (other.size, other.mtime, other.digest)).then_some(digest)
}

/// The order of an index: folder by folder, names by their bytes.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    let names = |path: &'_ [u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    names(one).cmp(&names(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_where_their_name_does() {
        let sorted: [&[u8]; 6] = [b"a", b"a/b", b"a/b/c", b"a/c", b"a.txt", b"b"];
        for pair in sorted.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }
}
