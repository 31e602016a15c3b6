//! Rows of tables in the protocol's encoding.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ClientError;
use crate::cost::ResponseCost;
use crate::cursor::Cursor;
use crate::definition::{MAX_COLUMNS, MAX_NAME_BYTES};
use crate::frames::{ByteReader, Frames};

/// Longer values are transferred in pieces.
pub const LARGE_VALUE_BYTES: usize = 131_072;

/// Lengths that are markers.
const NULL_MARKER: u32 = 0xFFFF_FFFF;
const LARGE_MARKER: u32 = 0xFFFF_FFFE;

/// The maximum size of a value, in bytes: that of LONGBLOB.
const MAX_VALUE_BYTES: u64 = 0xFFFF_FFFF;

/// Length of the reference to a large value: its size and SHA-256.
const LARGE_REFERENCE_BYTES: usize = 40;

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// The whole value.
    Bytes(&'a [u8]),
    /// A large value that follows in pieces.
    Large {
        /// Its size in bytes.
        size: u64,
        /// Its SHA-256.
        sha256: [u8; 32],
    },
}

impl Value<'_> {
    fn length(&self) -> u32 {
        match self {
            Self::Null => NULL_MARKER,
            Self::Large { .. } => LARGE_MARKER,
            Self::Bytes(bytes) => bytes.len() as u32,
        }
    }

    /// The value as a row contains it: a reference, if it is large.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Value<'_> {
        if bytes.len() > LARGE_VALUE_BYTES {
            Value::Large { size: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
        } else {
            Value::Bytes(bytes)
        }
    }
}

/// Appends an encoded row to `to`.
///
/// # Panics
/// A value of more than [`LARGE_VALUE_BYTES`] bytes is not [`Value::Large`].
pub fn write_row(to: &mut Vec<u8>, values: &[Value<'_>]) {
    for value in values {
        to.extend(value.length().to_be_bytes());
    }
    for value in values {
        match value {
            Value::Null => {}
            Value::Bytes(bytes) => {
                assert!(bytes.len() <= LARGE_VALUE_BYTES, "large values travel in pieces");
                to.extend_from_slice(bytes);
            }
            Value::Large { size, sha256 } => {
                to.extend(size.to_be_bytes());
                to.extend(sha256);
            }
        }
    }
}

/// Decodes a row of so many columns into `values`. `None` if there is no complete row.
fn read_row<'a>(from: &mut ByteReader<'a>, columns: usize, values: &mut Vec<Value<'a>>) -> Option<()> {
    values.clear();
    let mut lengths = ByteReader::new(from.take(columns.checked_mul(4)?)?);
    while let Some(length) = lengths.u32() {
        values.push(match length {
            NULL_MARKER => Value::Null,
            LARGE_MARKER => {
                let mut reference = ByteReader::new(from.take(LARGE_REFERENCE_BYTES)?);
                let size = reference.u64().filter(|size| *size <= MAX_VALUE_BYTES)?;
                Value::Large { size, sha256: reference.array()? }
            }
            length if length as usize <= LARGE_VALUE_BYTES => Value::Bytes(from.take(length as usize)?),
            _ => return None,
        });
    }
    Some(())
}

/// The digest of rows, independent of their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RowDigest([u8; 32]);

impl RowDigest {
    /// Adds a row as encoded by [`write_row`].
    pub fn add(&mut self, row: &[u8]) {
        self.combine(Self(Sha256::digest(row).into()));
    }

    /// Adds the rows of another digest.
    pub fn combine(&mut self, other: Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own ^= more;
        }
    }
}

impl From<RowDigest> for String {
    fn from(digest: RowDigest) -> Self {
        hex::encode(digest.0)
    }
}

impl TryFrom<String> for RowDigest {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// A row in two forms, for a table with unique indexes or checks. The target loads the other one if a constraint does not
/// accept the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlternativeRows<'a> {
    /// The row with all its new values, as encoded by [`write_row`] without large values.
    pub new: &'a [u8],
    /// The row with its old values in constraints.
    pub kept: &'a [u8],
    /// How many values differ.
    pub values: u32,
    /// How many addresses are replaced in the differing values.
    pub addresses: u32,
}

/// The rows of a table of which the target loaded the other form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct ConstraintConflicts {
    /// How many.
    pub rows: u64,
    /// The sum of their [`values`](AlternativeRows::values).
    pub values: u64,
    /// The sum of their [`addresses`](AlternativeRows::addresses).
    pub addresses: u64,
    /// What to combine the digest of the new rows with, to get that of the loaded ones.
    pub digest: RowDigest,
}

/// The header of a response with rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RowsHeader {
    /// The table.
    pub table: String,
    /// Names of columns in the order of the values.
    pub columns: Vec<String>,
    /// Positions of the key's columns.
    pub key: Vec<usize>,
}

/// Counted rows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RowCount {
    /// Number of rows.
    pub rows: u64,
    /// Their digest.
    pub digest: RowDigest,
    /// Where to resume; `None` at the end.
    pub cursor: Option<Cursor>,
}

#[derive(Deserialize)]
struct End {
    #[serde(flatten)]
    count: RowCount,
    #[serde(default)]
    end: Option<Cursor>,
    #[serde(flatten)]
    cost: ResponseCost,
}

/// The rows of one response, verified and counted.
#[derive(Debug)]
pub struct Rows {
    /// Table and columns.
    pub header: RowsHeader,
    /// Number and digest of the rows, and where to resume.
    pub count: RowCount,
    /// At the end of the table: the cursor after its last row; `None` if it is empty.
    pub end: Option<Cursor>,
    /// What the response cost the site.
    pub cost: ResponseCost,
    /// Number of rows and pieces.
    pub(crate) part_count: u64,
    frames: Frames,
}

/// The parts of [`Rows`], in order.
#[derive(Debug, PartialEq, Eq)]
pub enum RowPart<'a> {
    /// A row. Its values that are [`Value::Large`] follow in pieces, here or at the beginning of the next response.
    Row {
        /// The encoded row, which digests are computed from.
        bytes: &'a [u8],
        /// Its values.
        values: Vec<Value<'a>>,
    },
    /// A piece of a large value of the last row.
    Piece {
        /// Position of the column.
        column: usize,
        /// Offset in the value.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
}

impl Rows {
    pub(crate) fn parse(frames: Frames) -> Result<Self, ClientError> {
        let wrong = || ClientError::Malformed("rows");
        let header = frames.iter().next().filter(|(kind, _)| *kind == b'H').ok_or_else(wrong)?.1;
        let header: RowsHeader = serde_json::from_slice(header).map_err(|_| wrong())?;
        let columns = header.columns.len();
        let are_names = header.columns.iter().all(|name| name.len() <= MAX_NAME_BYTES);
        if !(1..=MAX_COLUMNS).contains(&columns) || !are_names || header.key.len() > columns {
            return Err(wrong());
        }
        if header.key.iter().any(|place| *place >= header.columns.len()) {
            return Err(wrong());
        }
        let End { count, end, cost } = frames.end()?;
        let mut rows = Self { header, count, end, cost, part_count: 0, frames };
        let (mut seen, mut parts, mut digest) = (0, 0, RowDigest::default());
        for part in rows.parts() {
            parts += 1;
            if let RowPart::Row { bytes, .. } = part? {
                seen += 1;
                digest.add(bytes);
            }
        }
        rows.part_count = parts;
        if (seen, digest) == (rows.count.rows, rows.count.digest) { Ok(rows) } else { Err(wrong()) }
    }

    /// Length of the response in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Rows and pieces in order. They were validated when the response was parsed: none of them is an error.
    pub fn parts(&self) -> impl Iterator<Item = Result<RowPart<'_>, ClientError>> {
        parts_of(self.frames.iter().skip(1), self.header.columns.len())
    }
}

/// The parts of frames with rows of so many columns.
pub(crate) fn parts_of<'a>(
    frames: impl Iterator<Item = (u8, &'a [u8])>,
    columns: usize,
) -> impl Iterator<Item = Result<RowPart<'a>, ClientError>> {
    frames.flat_map(move |(kind, payload)| PartsOf {
        kind,
        rest: ByteReader::new(payload),
        payload,
        columns,
        broken: false,
    })
}

/// The parts of one frame.
struct PartsOf<'a> {
    kind: u8,
    rest: ByteReader<'a>,
    payload: &'a [u8],
    columns: usize,
    broken: bool,
}

impl<'a> PartsOf<'a> {
    fn part(&mut self) -> Option<RowPart<'a>> {
        if self.kind == b'P' {
            let (column, offset) = (usize::from(self.rest.u16()?), self.rest.u64()?);
            let piece = RowPart::Piece { column, offset, bytes: self.rest.rest() };
            return (column < self.columns).then_some(piece);
        }
        if self.kind != b'R' {
            return None;
        }
        let (begin, mut values) = (self.rest.at, Vec::new());
        read_row(&mut self.rest, self.columns, &mut values)?;
        Some(RowPart::Row { bytes: &self.payload[begin..self.rest.at], values })
    }
}

impl<'a> Iterator for PartsOf<'a> {
    type Item = Result<RowPart<'a>, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.rest.is_empty() {
            return None;
        }
        let part = self.part().ok_or(ClientError::Malformed("a row"));
        self.broken = part.is_err();
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(columns: usize, bytes: &[u8]) -> Option<Vec<Value<'_>>> {
        let (mut cut, mut values) = (ByteReader::new(bytes), Vec::new());
        read_row(&mut cut, columns, &mut values)?;
        cut.is_empty().then_some(values)
    }

    proptest! {
        #[test]
        fn decoding_reverses_encoding(
            fields in prop::collection::vec(
                prop::option::of(prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        ) {
            let values: Vec<_> = fields.iter().map(|f| f.as_ref().map_or(Value::Null, |b| Value::of(b))).collect();
            let mut bytes = Vec::new();
            write_row(&mut bytes, &values);
            prop_assert_eq!(row(values.len(), &bytes), Some(values.clone()));
            prop_assert_eq!(row(values.len(), &bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn arbitrary_bytes_decode_to_a_row_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), columns in 0_usize..8) {
            if let Some(values) = row(columns, &bytes) {
                let mut again = Vec::new();
                write_row(&mut again, &values);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn a_large_value_is_encoded_as_length_and_hash() {
        let (just, over) = (vec![7; LARGE_VALUE_BYTES], vec![7; LARGE_VALUE_BYTES + 1]);
        assert_eq!(Value::of(&just), Value::Bytes(&just));
        let sha256 = Sha256::digest(&over).into();
        let mut bytes = Vec::new();
        write_row(&mut bytes, &[Value::Bytes(b"1"), Value::of(&over)]);
        assert_eq!(bytes.len(), 8 + 1 + LARGE_REFERENCE_BYTES);
        let expected = [Value::Bytes(b"1"), Value::Large { size: LARGE_VALUE_BYTES as u64 + 1, sha256 }];
        assert_eq!(row(2, &bytes).unwrap(), expected);
    }

    #[test]
    fn a_digest_is_independent_of_the_order() {
        let (mut a, mut b, mut c) = (RowDigest::default(), RowDigest::default(), RowDigest::default());
        a.add(b"1");
        a.add(b"2");
        b.add(b"2");
        c.add(b"1");
        b.combine(c);
        assert_eq!(a, b);
        let text = String::from(a);
        assert_eq!(RowDigest::try_from(text).unwrap(), a);
    }
}
