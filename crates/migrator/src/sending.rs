//! What goes to a target: rows in chunks, files in parcels.

use bytes::Bytes;
use serde_json::Value as Json;

use crate::ClientError;
use crate::files::Root;
use crate::frames::{Body, MOST_PAYLOAD};
use crate::pool::Pool;

/// The most bytes of rows in one frame, so that a target holds little at a time.
const FRAME: usize = 256 * 1024;

/// Rows and pieces on their way to a target.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Whole frames.
    frames: Body,
    /// Where each of them ends, and how many rows and pieces there are up to there.
    ends: Vec<(usize, u64)>,
    /// Rows of the frame that is open.
    rows: Vec<u8>,
    /// Rows and pieces.
    units: u64,
}

impl Chunk {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { frames: Body::new(pool), ..Self::default() }
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len() + self.rows.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and pieces in it.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Two chunks of half the length, or about; `None` when it cannot be cut.
    #[must_use]
    pub fn halves(mut self) -> Option<(Self, Self)> {
        self.close();
        let middle = self.ends.len() / 2;
        let (at, units) = *self.ends.get(middle.checked_sub(1)?)?;
        let later = self.ends.split_off(middle).into_iter().map(|(end, n)| (end - at, n - units));
        let second = Self {
            frames: self.frames.split_off(at),
            ends: later.collect(),
            rows: Vec::new(),
            units: self.units - units,
        };
        Some((Self { units, ..self }, second))
    }

    /// Adds a row, as [`write_row`] writes it. `whole`: whether none of its values follows in pieces.
    pub fn row(&mut self, bytes: &[u8], whole: bool) {
        if self.rows.len() + bytes.len() > FRAME {
            self.close();
        }
        self.rows.extend_from_slice(bytes);
        self.units += 1;
        if !whole {
            self.close();
        }
    }

    /// Adds a piece of a large value of the last row.
    pub fn piece(&mut self, column: u16, offset: u64, bytes: &[u8]) {
        self.close();
        self.frames.frame(b'P', &[&column.to_be_bytes(), &offset.to_be_bytes(), bytes]);
        self.units += 1;
        self.ends.push((self.frames.len(), self.units));
    }

    fn close(&mut self) {
        if !self.rows.is_empty() {
            self.frames.frame(b'R', &[&self.rows]);
            self.rows.clear();
            self.ends.push((self.frames.len(), self.units));
        }
    }

    /// All of it as a body that begins with these parameters; what it was made of is gone from here.
    pub(crate) fn body(&mut self, parameters: &Json) -> Result<Bytes, ClientError> {
        self.close();
        self.frames.with(parameters)
    }

    /// Brings back what became a body.
    pub(crate) fn take_back(&mut self, body: &Bytes) {
        self.frames.take_back(body);
    }
}

/// What a part that goes to a target stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A folder.
    Folder,
    /// Bytes of a file, after which more come.
    Bytes,
    /// The last bytes of a file.
    Last,
    /// A file of which nothing more will come: what came of it is to go.
    Gone,
}

/// A part of a file on its way to a target.
#[derive(Debug, Clone, Copy)]
pub struct StoredPart<'a> {
    /// Its root.
    pub root: Root,
    /// Its path below the root.
    pub path: &'a [u8],
    /// What it is a part of.
    pub what: PartKind,
    /// Permissions.
    pub mode: u16,
    /// Bytes of the whole file.
    pub size: u64,
    /// Time of change, in Unix seconds.
    pub mtime: u64,
    /// Where the part begins.
    pub offset: u64,
}

/// Parts of files on their way to a target.
#[derive(Debug, Default)]
pub struct Parcel {
    pub(crate) frames: Body,
    parts: u64,
}

impl Parcel {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { frames: Body::new(pool), parts: 0 }
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// Adds a part and its bytes.
    pub fn part(&mut self, part: &StoredPart<'_>, bytes: &[&[u8]]) {
        let flags = match part.what {
            PartKind::Bytes => 0,
            PartKind::Folder => 3,
            PartKind::Last => 2,
            PartKind::Gone => 4,
        };
        let head = [part.root as u8, flags];
        let numbers = [part.size, part.mtime, part.offset].map(u64::to_be_bytes).concat();
        self.frames.frame(b'F', &[&head, &part.mode.to_be_bytes(), &numbers, part.path]);
        for bytes in bytes.iter().flat_map(|bytes| bytes.chunks(MOST_PAYLOAD)) {
            self.frames.frame(b'D', &[bytes]);
        }
        self.parts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_cut_between_frames_and_nothing_is_lost() {
        let mut chunk = Chunk::default();
        let row = vec![b'r'; 100_000];
        for n in 0..6 {
            chunk.row(&row, n != 4);
        }
        chunk.piece(1, 0, &[b'p'; 1000]);
        chunk.close();
        let (units, parameters) = (chunk.units(), serde_json::json!({}));
        let whole = chunk.body(&parameters).unwrap();
        chunk.take_back(&whole);
        let (mut first, mut second) = chunk.halves().unwrap();
        assert_eq!(first.units() + second.units(), units);
        let begin = Chunk::default().body(&parameters).unwrap();
        let [one, two] = [&mut first, &mut second].map(|half| half.body(&parameters).unwrap());
        assert_eq!([&one[..], &two[begin.len()..]].concat(), whole);
        first.take_back(&one);
        second.take_back(&two);
        assert!(!first.is_empty() && !second.is_empty());
        let mut one = Chunk::default();
        one.row(&row, true);
        assert!(one.halves().is_none());
    }
}
