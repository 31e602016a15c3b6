//! Rows as they go on to the target: what comes from the source, put together where it came in pieces, mended, and cut
//! into units again. The same rows always give the same units, so that a transfer that was broken off knows by their
//! number how far it was.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use wpclone_migrator::{LARGE_VALUE_BYTES, RowDigest, RowPart, Value, write_row};
use wpclone_rewrite::Report;

use crate::fidelity::OmitReason;
use crate::row_transformer::{RowAction, RowTransformer};

#[cfg(test)]
mod tests;

/// The most bytes of a row that are put together; what is larger travels as it is.
const MOST: u64 = 24 << 20;
/// How long pieces are that we cut.
const PIECE: usize = 256 << 10;

/// What goes to the target, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unit<'a> {
    /// A row; `whole` when none of its values follows in pieces.
    Row { bytes: &'a [u8], whole: bool },
    /// A piece of a large value of the last row.
    Piece { column: u16, offset: u64, bytes: &'a [u8] },
}

/// What was counted on the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) source_rows: u64,
    pub(crate) source_digest: RowDigest,
    pub(crate) target_rows: u64,
    pub(crate) target_digest: RowDigest,
    pub(crate) omitted: BTreeMap<OmitReason, u64>,
    pub(crate) report: Report,
    /// Values that were too large to look into.
    pub(crate) too_large: u64,
}

/// What came is not what was announced: the row changed while it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RowChanged;

/// Turns parts of rows into units.
pub(crate) struct RowStream<'m> {
    transformer: RowTransformer<'m>,
    open: Option<Open>,
    row: Vec<u8>,
    pub(crate) counts: Counts,
}

/// A row whose large values have not all come.
struct Open {
    /// Its values; large ones as far as they came.
    values: Vec<BufferedValue>,
    /// What becomes of it.
    way: Way,
}

enum BufferedValue {
    Null,
    Bytes(Vec<u8>),
    Large { size: u64, sha256: [u8; 32], came: u64, bytes: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is put together, mended, and cut again.
    Mended,
    /// It has gone on already, and its pieces follow it as they come.
    Through,
    /// It stays behind.
    Stays,
}

impl<'m> RowStream<'m> {
    pub(crate) fn new(transformer: RowTransformer<'m>) -> Self {
        Self { transformer, open: None, row: Vec::new(), counts: Counts::default() }
    }

    /// Whether nothing of a row is still to come.
    pub(crate) fn is_settled(&self) -> bool {
        self.open.is_none()
    }

    /// All parts of an answer were taken: so many rows, with this digest.
    pub(crate) fn answered(&mut self, rows: u64, digest: RowDigest) {
        self.counts.source_rows += rows;
        self.counts.source_digest.combine(digest);
    }

    /// Takes a part, and gives what can go on now.
    pub(crate) fn take(
        &mut self,
        part: &RowPart<'_>,
        give: &mut impl FnMut(Unit<'_>),
    ) -> Result<(), RowChanged> {
        match part {
            RowPart::Row { bytes, values } => self.row(bytes, values, give),
            RowPart::Piece { column, offset, bytes } => self.piece(*column, *offset, bytes, give),
        }
    }

    fn row(
        &mut self,
        bytes: &[u8],
        values: &[Value<'_>],
        give: &mut impl FnMut(Unit<'_>),
    ) -> Result<(), RowChanged> {
        if self.open.is_some() {
            return Err(RowChanged);
        }
        let small = |at: usize| match values.get(at) {
            Some(Value::Bytes(bytes)) => Some(*bytes),
            _ => None,
        };
        let fate = self.transformer.fate(small);
        if let RowAction::Omit(why) = fate {
            *self.counts.omitted.entry(why).or_default() += 1;
        }
        let large: u64 =
            values.iter().map(|value| if let Value::Large { size, .. } = value { *size } else { 0 }).sum();
        let is_touched = |(at, value): &(usize, &Value<'_>)| {
            matches!(value, Value::Large { .. }) && self.transformer.touches(*at)
        };
        let touched = values.iter().enumerate().filter(is_touched).count();
        let way = match fate {
            RowAction::Omit(_) if large == 0 => return Ok(()),
            RowAction::Omit(_) => Way::Stays,
            RowAction::Keep if large == 0 && self.transformer.is_idle() => {
                self.go(bytes, true, give);
                return Ok(());
            }
            RowAction::Keep if touched == 0 || large > MOST => Way::Through,
            RowAction::Keep => Way::Mended,
        };
        if large == 0 {
            let bytes =
                values.iter().map(|value| if let Value::Bytes(bytes) = value { Some(*bytes) } else { None });
            self.mended(bytes, give);
            return Ok(());
        }
        if way == Way::Through {
            self.counts.too_large += touched as u64;
            self.through(values, give);
        }
        let held = |value: &Value<'_>| match value {
            Value::Null => BufferedValue::Null,
            Value::Bytes(bytes) => BufferedValue::Bytes(bytes.to_vec()),
            Value::Large { size, sha256 } => {
                BufferedValue::Large { size: *size, sha256: *sha256, came: 0, bytes: Vec::new() }
            }
        };
        self.open = Some(Open { values: values.iter().map(held).collect(), way });
        Ok(())
    }

    /// A row that is too large goes on, its small values mended.
    fn through(&mut self, values: &[Value<'_>], give: &mut impl FnMut(Unit<'_>)) {
        let mut new = Vec::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            let Value::Bytes(bytes) = value else {
                new.push(None);
                continue;
            };
            // One that would have to travel in pieces now stays: those of the others are on their way.
            let value = self.transformer.value(at, bytes, &mut self.counts.report);
            new.push(Some(value).filter(|value| value.len() <= LARGE_VALUE_BYTES));
        }
        let values: Vec<Value<'_>> =
            values.iter().zip(&new).map(|(old, new)| new.as_deref().map_or(*old, Value::Bytes)).collect();
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        write_row(&mut row, &values);
        self.go(&row, false, give);
        self.row = row;
    }

    fn piece(
        &mut self,
        column: usize,
        offset: u64,
        piece: &[u8],
        give: &mut impl FnMut(Unit<'_>),
    ) -> Result<(), RowChanged> {
        let open = self.open.as_mut().ok_or(RowChanged)?;
        let way = open.way;
        // They come in the order of their columns, each from its beginning to its end.
        let next = open.values.iter_mut().enumerate().find_map(|(at, value)| match value {
            BufferedValue::Large { size, came, bytes, .. } if *came < *size => Some((at, *size, came, bytes)),
            _ => None,
        });
        let (at, size, came, bytes) = next.ok_or(RowChanged)?;
        if at != column || *came != offset || size - *came < piece.len() as u64 {
            return Err(RowChanged);
        }
        *came += piece.len() as u64;
        match way {
            Way::Mended => bytes.extend_from_slice(piece),
            Way::Through => {
                let column = u16::try_from(column).map_err(|_| RowChanged)?;
                give(Unit::Piece { column, offset, bytes: piece });
            }
            Way::Stays => {}
        }
        let is_open =
            |value: &BufferedValue| matches!(value, BufferedValue::Large { size, came, .. } if came < size);
        if !open.values.iter().any(is_open) {
            self.whole(give)?;
        }
        Ok(())
    }

    /// All pieces of the open row have come.
    fn whole(&mut self, give: &mut impl FnMut(Unit<'_>)) -> Result<(), RowChanged> {
        let Some(open) = self.open.take().filter(|open| open.way == Way::Mended) else { return Ok(()) };
        for value in &open.values {
            if let BufferedValue::Large { sha256, bytes, .. } = value
                && <[u8; 32]>::from(Sha256::digest(bytes)) != *sha256
            {
                return Err(RowChanged);
            }
        }
        let bytes = open.values.iter().map(|value| match value {
            BufferedValue::Null => None,
            BufferedValue::Bytes(bytes) | BufferedValue::Large { bytes, .. } => Some(bytes.as_slice()),
        });
        self.mended(bytes, give);
        Ok(())
    }

    fn mended<'v>(
        &mut self,
        values: impl Iterator<Item = Option<&'v [u8]>>,
        give: &mut impl FnMut(Unit<'_>),
    ) {
        let new: Vec<_> = values
            .enumerate()
            .map(|(at, value)| Some(self.transformer.value(at, value?, &mut self.counts.report)))
            .collect();
        let values: Vec<Value<'_>> =
            new.iter().map(|new| new.as_deref().map_or(Value::Null, Value::of)).collect();
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        write_row(&mut row, &values);
        let large = new.iter().enumerate().filter_map(|(at, new)| Some((at, new.as_deref()?)));
        let large: Vec<_> = large.filter(|(_, bytes)| bytes.len() > LARGE_VALUE_BYTES).collect();
        self.go(&row, large.is_empty(), give);
        self.row = row;
        for (at, bytes) in large {
            for (n, piece) in bytes.chunks(PIECE).enumerate() {
                // A table has at most 4,096 columns.
                give(Unit::Piece { column: at as u16, offset: (n * PIECE) as u64, bytes: piece });
            }
        }
    }

    fn go(&mut self, bytes: &[u8], whole: bool, give: &mut impl FnMut(Unit<'_>)) {
        self.counts.target_rows += 1;
        self.counts.target_digest.add(bytes);
        give(Unit::Row { bytes, whole });
    }
}
