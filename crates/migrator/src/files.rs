//! File indexes and parts of files.

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use crate::ClientError;
use crate::content_digest::ContentDigest;
use crate::cost::ResponseCost;
use crate::cursor::Cursor;
use crate::frames::{ByteReader, Frames};

/// The maximum length of a path, in bytes.
const MAX_PATH_BYTES: usize = 700;
/// The maximum size of a file, in bytes (256 TiB).
const MAX_FILE_BYTES: u64 = 1 << 48;

/// A root folder of a site's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// `wp-admin`, `wp-includes` and the files beside them.
    Core,
    /// `wp-content`, without the roots below.
    Content,
    /// Plugins.
    Plugins,
    /// Must-use plugins.
    MuPlugins,
    /// Uploads.
    Uploads,
}

impl Root {
    /// All roots.
    pub const ALL: [Self; 5] = [Self::Core, Self::Content, Self::Plugins, Self::MuPlugins, Self::Uploads];
}

/// The kind of an index entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Excluded from export; the byte is the reason (see the README).
    Excluded(u8),
}

/// A file or folder of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its kind.
    pub kind: EntryKind,
    /// Permissions.
    pub mode: u16,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in Unix seconds.
    pub mtime: u64,
    /// Its digest, if requested.
    pub digest: Option<ContentDigest>,
    /// The path below the root: bytes, with `/` between names.
    pub path: Vec<u8>,
    tag: [u8; 16],
}

impl Entry {
    /// The id to request the file with.
    #[must_use]
    pub fn id(&self, root: Root) -> String {
        let mut bytes = vec![root as u8];
        bytes.extend(self.tag);
        bytes.extend(&self.path);
        BASE64.encode(bytes)
    }
}

#[derive(Deserialize)]
struct IndexEnd {
    cursor: Option<Cursor>,
    entries: usize,
    #[serde(flatten)]
    cost: ResponseCost,
}

/// The entries of one response.
#[derive(Debug)]
pub struct Index {
    /// Sorted by path.
    pub entries: Vec<Entry>,
    /// Where to resume; `None` at the end.
    pub cursor: Option<Cursor>,
    /// What the response cost the site.
    pub cost: ResponseCost,
    pub(crate) bytes: usize,
}

impl Index {
    /// The maximum number of entries of a root.
    pub const MAX_ENTRIES: u64 = 5_000_000;

    pub(crate) fn parse(frames: &Frames) -> Result<Self, ClientError> {
        let wrong = ClientError::Malformed("an index");
        let mut entries = Vec::new();
        for (kind, payload) in frames.iter() {
            let mut rest = ByteReader::new(payload);
            while !rest.is_empty() {
                match entry(&mut rest).filter(|_| kind == b'I') {
                    Some(entry) => entries.push(entry),
                    None => return Err(wrong),
                }
            }
        }
        let IndexEnd { cursor, entries: counted, cost } = frames.end()?;
        if counted != entries.len() {
            return Err(wrong);
        }
        Ok(Self { entries, cursor, cost, bytes: frames.len() })
    }
}

fn entry(from: &mut ByteReader<'_>) -> Option<Entry> {
    let (kind, reason) = (from.u8()?, from.u8()?);
    let kind = match kind {
        b'f' => EntryKind::File,
        b'd' => EntryKind::Folder,
        b'x' => EntryKind::Excluded(reason),
        _ => return None,
    };
    let (mode, size, mtime, digest, tag) =
        (from.u16()?, from.u64()?, from.u64()?, from.array()?, from.array()?);
    let length = usize::from(from.u16()?);
    if size > MAX_FILE_BYTES {
        return None;
    }
    let path = from.take(length).filter(|path| is_path(path))?.to_vec();
    let digest = (digest != [0; 32]).then_some(ContentDigest(digest));
    Some(Entry { kind, mode, size, mtime, digest, path, tag })
}

/// Whether a path stays below the folder it is joined to, whatever the site sent.
fn is_path(path: &[u8]) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.contains(&0)
        && path.split(|b| *b == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}

/// The order of an index: by path components, compared as bytes.
#[must_use]
pub fn index_order(one: &[u8], other: &[u8]) -> Ordering {
    one.split(|byte| *byte == b'/').cmp(other.split(|byte| *byte == b'/'))
}

/// Whether the entries follow `last` in the order of an index, each path once. So a site can list nothing twice.
pub(crate) fn is_in_order(last: &[u8], entries: &[Entry]) -> bool {
    entries
        .iter()
        .try_fold(last, |last, entry| {
            (index_order(last, &entry.path) == Ordering::Less).then_some(&entry.path[..])
        })
        .is_some()
}

/// A request for a file, or the rest of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRequest {
    /// [`Entry::id`].
    pub id: String,
    /// The offset to start at.
    pub offset: u64,
    /// The expected size.
    pub size: u64,
    /// The expected modification time.
    pub mtime: u64,
}

/// The status of a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileStatus {
    /// The bytes are valid.
    Ok,
    /// Size or modification time differ from the expected ones, or the file changed while it was read.
    Changed,
    /// It no longer exists.
    Missing,
    /// PHP cannot read it.
    Unreadable,
    /// The id is invalid, or the file is excluded.
    Rejected,
}

impl FileStatus {
    fn of(byte: u8) -> Option<Self> {
        [Self::Ok, Self::Changed, Self::Missing, Self::Unreadable, Self::Rejected]
            .get(usize::from(byte))
            .copied()
    }
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct FilePart<'a> {
    /// Index of the request it belongs to.
    pub index: usize,
    /// The bytes are valid only with [`FileStatus::Ok`].
    pub state: FileStatus,
    /// The file's size.
    pub size: u64,
    /// Its modification time.
    pub mtime: u64,
    /// Offset of the part.
    pub offset: u64,
    /// Its bytes, in order.
    pub bytes: Vec<&'a [u8]>,
}

#[derive(Deserialize)]
struct FilesEnd {
    file: Option<usize>,
    offset: Option<u64>,
    #[serde(flatten)]
    cost: ResponseCost,
}

/// The parts of files of one response, verified.
#[derive(Debug)]
pub struct Files {
    /// The index of the file to continue with, and the offset; `None` when all requests are answered.
    pub next: Option<(usize, u64)>,
    /// What the response cost the site.
    pub cost: ResponseCost,
    frames: Frames,
}

impl Files {
    pub(crate) fn parse(frames: Frames, requests: &[FileRequest]) -> Result<Self, ClientError> {
        let wrong = || ClientError::Malformed("files");
        let FilesEnd { file, offset, cost } = frames.end()?;
        let next = file.zip(offset);
        if file.is_some() != offset.is_some() || next.is_some_and(|(file, _)| file >= requests.len()) {
            return Err(wrong());
        }
        let files = Self { next, cost, frames };
        let parts = files.parts()?;
        let mut last: Option<usize> = None;
        for part in &parts {
            let expected = last.map_or(0, |l| l + 1);
            let good = requests.get(part.index).is_some_and(|w| {
                part.state != FileStatus::Ok
                    || part.offset == w.offset && part.size == w.size && part.mtime == w.mtime
            });
            // Only the last part may continue in the next response.
            let came: u64 = part.bytes.iter().map(|bytes| bytes.len() as u64).sum();
            let whole = part.state != FileStatus::Ok || part.offset.checked_add(came) == Some(part.size);
            let goes_on = next.is_some_and(|(file, offset)| {
                file == part.index && part.offset.checked_add(came) == Some(offset)
            });
            if !good || part.index != expected || !(whole || goes_on) {
                return Err(wrong());
            }
            last = Some(part.index);
        }
        // A response without progress would make the client loop forever.
        let (started, whole) = (parts.len(), parts.len() == requests.len());
        match next {
            None if whole => {}
            Some((file, offset)) if file == started && offset == requests[file].offset && started > 0 => {}
            Some((file, offset)) if started > 0 && file == started - 1 && offset > requests[file].offset => {}
            _ => return Err(wrong()),
        }
        drop(parts);
        Ok(files)
    }

    /// Length of the response in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// The parts, in the order of the requests.
    ///
    /// # Errors
    /// None; the parts were validated when the response was parsed.
    pub fn parts(&self) -> Result<Vec<FilePart<'_>>, ClientError> {
        let wrong = || ClientError::Malformed("a file");
        let mut parts: Vec<FilePart<'_>> = Vec::new();
        let mut open = false;
        for (kind, payload) in self.frames.iter() {
            match kind {
                b'F' if !open => {
                    let part = begin(payload).ok_or_else(wrong)?;
                    open = part.state == FileStatus::Ok;
                    parts.push(part);
                }
                b'D' if open => parts.last_mut().ok_or_else(wrong)?.bytes.push(payload),
                b'G' if open => {
                    let part = parts.last_mut().ok_or_else(wrong)?;
                    let (index, state) = end(payload).ok_or_else(wrong)?;
                    if index != part.index {
                        return Err(wrong());
                    }
                    part.state = state;
                    open = false;
                }
                _ => return Err(wrong()),
            }
        }
        if open { Err(wrong()) } else { Ok(parts) }
    }
}

fn begin<'a>(payload: &[u8]) -> Option<FilePart<'a>> {
    let mut rest = ByteReader::new(payload);
    let (index, state) = (rest.u32()? as usize, FileStatus::of(rest.u8()?)?);
    let (size, mtime, offset) = (rest.u64()?, rest.u64()?, rest.u64()?);
    (rest.is_empty() && size <= MAX_FILE_BYTES).then_some(FilePart {
        index,
        state,
        size,
        mtime,
        offset,
        bytes: Vec::new(),
    })
}

fn end(payload: &[u8]) -> Option<(usize, FileStatus)> {
    let mut rest = ByteReader::new(payload);
    let found = (rest.u32()? as usize, FileStatus::of(rest.u8()?)?);
    rest.is_empty().then_some(found)
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

    #[test]
    fn paths_that_leave_the_root_are_rejected() {
        for path in ["", "/etc", "a//b", "a/../b", "..", "a/.", "a\0b", "a/"] {
            assert!(!is_path(path.as_bytes()), "{path:?}");
        }
        for path in ["a", "a/b.php", ".htaccess", "...", "a b/\u{1f680}.png", "a\\b"] {
            assert!(is_path(path.as_bytes()), "{path:?}");
        }
        assert!(!is_path(&[b'a'; MAX_PATH_BYTES + 1]));
    }
}
