//! Content on its way to a target: chunks of rows, and batches of files.

use bytes::Bytes;
use serde_json::Value as Json;

use crate::ClientError;
use crate::buffer_pool::Pool;
use crate::files::Root;
use crate::frames::{FrameBuffer, MAX_PAYLOAD_BYTES};
use crate::rows::AlternativeRows;

/// The maximum bytes of rows in one frame; limits the target's memory use.
const FRAME_BYTES: usize = 256 * 1024;

/// Rows and pieces to send to a target.
#[derive(Debug, Default)]
pub struct RowChunk {
    /// Complete frames.
    frames: FrameBuffer,
    /// The end of each frame, and the number of rows and pieces up to there.
    ends: Vec<(usize, u64)>,
    /// Rows of the current frame.
    rows: Vec<u8>,
    /// Number of rows and pieces.
    part_count: u64,
}

impl RowChunk {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { frames: FrameBuffer::new(pool), ..Self::default() }
    }

    /// Length so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len() + self.rows.len()
    }

    /// Whether it has no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of rows and pieces.
    #[must_use]
    pub fn part_count(&self) -> u64 {
        self.part_count
    }

    /// Splits into two chunks of about half the length; `None` if it has only one frame.
    #[must_use]
    pub fn split(mut self) -> Option<(Self, Self)> {
        self.close();
        let middle = self.ends.len() / 2;
        let (at, units) = *self.ends.get(middle.checked_sub(1)?)?;
        let later = self.ends.split_off(middle).into_iter().map(|(end, n)| (end - at, n - units));
        let second = Self {
            frames: self.frames.split_off(at),
            ends: later.collect(),
            rows: Vec::new(),
            part_count: self.part_count - units,
        };
        Some((Self { part_count: units, ..self }, second))
    }

    /// Adds a row as encoded by [`write_row`]. `whole`: none of its values follows in pieces.
    pub fn row(&mut self, bytes: &[u8], whole: bool) {
        if self.rows.len() + bytes.len() > FRAME_BYTES {
            self.close();
        }
        self.rows.extend_from_slice(bytes);
        self.part_count += 1;
        if !whole {
            self.close();
        }
    }

    /// Adds a piece of a large value of the last row.
    pub fn piece(&mut self, column: u16, offset: u64, bytes: &[u8]) {
        self.close();
        self.frames.frame(b'P', &[&column.to_be_bytes(), &offset.to_be_bytes(), bytes]);
        self.part_count += 1;
        self.ends.push((self.frames.len(), self.part_count));
    }

    /// Adds a row in two forms.
    pub fn alternatives(&mut self, rows: &AlternativeRows<'_>) {
        self.close();
        let AlternativeRows { new, kept, values, addresses } = rows;
        self.frames.frame(b'A', &[&values.to_be_bytes(), &addresses.to_be_bytes(), new, kept]);
        self.part_count += 1;
        self.ends.push((self.frames.len(), self.part_count));
    }

    fn close(&mut self) {
        if !self.rows.is_empty() {
            self.frames.frame(b'R', &[&self.rows]);
            self.rows.clear();
            self.ends.push((self.frames.len(), self.part_count));
        }
    }

    /// Takes everything as a body that begins with these parameters; leaves the chunk empty.
    pub(crate) fn body(&mut self, parameters: &Json) -> Result<Bytes, ClientError> {
        self.close();
        self.frames.with(parameters)
    }

    /// Restores the content from a body that was taken.
    pub(crate) fn restore(&mut self, body: &Bytes) {
        self.frames.restore(body);
    }
}

/// The kind of a part that is sent to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A folder.
    Folder,
    /// Bytes of a file; more follow.
    Data,
    /// The last bytes of a file.
    Final,
    /// A file that no longer exists: deletes what was stored of it.
    Deleted,
}

/// A part of a file to send to a target.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingPart<'a> {
    /// Its root.
    pub root: Root,
    /// Its path below the root.
    pub path: &'a [u8],
    /// Its kind.
    pub kind: PartKind,
    /// Permissions.
    pub mode: u16,
    /// Size of the whole file in bytes.
    pub size: u64,
    /// Modification time in Unix seconds.
    pub mtime: u64,
    /// Offset of the part.
    pub offset: u64,
}

/// Parts of files to send to a target in one request.
#[derive(Debug, Default)]
pub struct FileBatch {
    pub(crate) frames: FrameBuffer,
    pub(crate) parts: u64,
}

impl FileBatch {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { frames: FrameBuffer::new(pool), parts: 0 }
    }

    /// Length so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether it has no parts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// Adds a part and its bytes.
    pub fn part(&mut self, part: &OutgoingPart<'_>, bytes: &[&[u8]]) {
        let flags = match part.kind {
            PartKind::Data => 0,
            PartKind::Folder => 3,
            PartKind::Final => 2,
            PartKind::Deleted => 4,
        };
        let head = [part.root as u8, flags];
        let numbers = [part.size, part.mtime, part.offset].map(u64::to_be_bytes).concat();
        self.frames.frame(b'F', &[&head, &part.mode.to_be_bytes(), &numbers, part.path]);
        for bytes in bytes.iter().flat_map(|bytes| bytes.chunks(MAX_PAYLOAD_BYTES)) {
            self.frames.frame(b'D', &[bytes]);
        }
        self.parts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_split_between_frames_without_loss() {
        let mut chunk = RowChunk::default();
        let row = vec![b'r'; 100_000];
        for n in 0..6 {
            chunk.row(&row, n != 4);
        }
        chunk.piece(1, 0, &[b'p'; 1000]);
        chunk.close();
        let (units, parameters) = (chunk.part_count(), serde_json::json!({}));
        let whole = chunk.body(&parameters).unwrap();
        chunk.restore(&whole);
        let (mut first, mut second) = chunk.split().unwrap();
        assert_eq!(first.part_count() + second.part_count(), units);
        let begin = RowChunk::default().body(&parameters).unwrap();
        let [one, two] = [&mut first, &mut second].map(|half| half.body(&parameters).unwrap());
        assert_eq!([&one[..], &two[begin.len()..]].concat(), whole);
        first.restore(&one);
        second.restore(&two);
        assert!(!first.is_empty() && !second.is_empty());
        let mut one = RowChunk::default();
        one.row(&row, true);
        assert!(one.split().is_none());
    }
}
