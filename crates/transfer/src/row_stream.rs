//! Turns the source's rows into units for the target: joins values that come in pieces, transforms them and splits them
//! again. The same rows always emit the same units, so that a resumed transfer can skip units by their number.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use wpclone_migrator::{
    AlternativeRows, ConstraintConflicts, LARGE_VALUE_BYTES, RowDigest, RowPart, Value, write_row,
};
use wpclone_rewrite::{Report, UnreplacedReason};

use crate::address_hashes::update_hashes;
use crate::fidelity::OmitReason;
use crate::held_rows::{ConstrainedChanges, HeldRows, write_values};
use crate::row_transformer::{RowAction, RowTransformer};

#[cfg(test)]
mod tests;

/// Large values of a row are joined up to this size. Beyond it, they are passed through unchanged.
const MAX_BUFFERED_BYTES: u64 = 24 << 20;
/// Size of the pieces that large values are split into.
const PIECE_BYTES: usize = 256 << 10;

/// Both forms of a row together have at most this size; else its values in constraints stay.
const MAX_ALTERNATIVE_BYTES: usize = 1 << 20;

/// A part of a row chunk for the target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unit<'a> {
    /// A row; `whole` if no piece of it follows.
    Row { bytes: &'a [u8], whole: bool },
    /// A piece of a large value of the row before.
    Piece { column: u16, offset: u64, bytes: &'a [u8] },
    /// A row whose addresses are in a constraint.
    Alternatives(AlternativeRows<'a>),
}

/// Counts and digests of the rows so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) source_rows: u64,
    pub(crate) source_digest: RowDigest,
    pub(crate) target_rows: u64,
    pub(crate) target_digest: RowDigest,
    pub(crate) omitted: BTreeMap<OmitReason, u64>,
    pub(crate) report: Report,
    /// Values that were too large to be transformed.
    pub(crate) skipped_large_values: u64,
    /// Rows that keep an old address because of a constraint.
    pub(crate) constraint_conflicts: u64,
}

impl Counts {
    /// Takes back what was counted for rows that the target loaded with their other values.
    pub(crate) fn take_back(&mut self, conflicts: &ConstraintConflicts) {
        self.constraint_conflicts = self.constraint_conflicts.saturating_add(conflicts.rows);
        self.target_digest.combine(conflicts.digest);
        let report = &mut self.report;
        let addresses = conflicts.addresses.min(report.replaced_addresses);
        report.changed_values = report.changed_values.saturating_sub(conflicts.values);
        report.replaced_addresses -= addresses;
        if addresses > 0 {
            *report.unreplaced.entry(UnreplacedReason::Constraint).or_default() += addresses;
        }
    }
}

/// A piece does not match its row: the row changed while it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RowChanged;

/// Turns parts of the source's rows into units for the target.
pub(crate) struct RowStream<'m> {
    transformer: RowTransformer<'m>,
    open: Option<Open>,
    row: Vec<u8>,
    /// Whether all values in constraints stay as they are.
    keeps_constrained: bool,
    /// Rows that are emitted after all others, so that a row that does not change keeps its place in a unique index.
    held: HeldRows,
    pub(crate) counts: Counts,
}

/// A row whose large values are not complete yet.
struct Open {
    /// Its values; large ones as far as they were received.
    values: Vec<BufferedValue>,
    /// How it is handled.
    mode: RowMode,
}

enum BufferedValue {
    Null,
    Bytes(Vec<u8>),
    Large { size: u64, sha256: [u8; 32], received: u64, bytes: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RowMode {
    /// Buffer it, transform it, and split it again.
    Transform,
    /// It was emitted; its pieces are emitted as they come.
    PassThrough,
    /// Drop it.
    Omit,
}

impl<'m> RowStream<'m> {
    pub(crate) fn new(transformer: RowTransformer<'m>) -> Self {
        Self {
            transformer,
            open: None,
            row: Vec::new(),
            keeps_constrained: false,
            held: HeldRows::default(),
            counts: Counts::default(),
        }
    }

    /// Keeps all values in constraints.
    pub(crate) fn keeping_constrained(self, keeps_constrained: bool) -> Self {
        Self { keeps_constrained, ..self }
    }

    /// Whether the last row is complete.
    pub(crate) fn is_between_rows(&self) -> bool {
        self.open.is_none()
    }

    /// Whether all rows so far were emitted.
    pub(crate) fn is_emitted(&self) -> bool {
        self.open.is_none() && self.held.is_empty()
    }

    /// Emits the rows that were held back.
    pub(crate) fn finish(&mut self, emit: &mut impl FnMut(Unit<'_>)) {
        self.held.drain(|row| {
            self.counts.target_rows += 1;
            self.counts.target_digest.add(row.new);
            emit(Unit::Alternatives(row));
        });
    }

    /// Adds the number of rows of a response and their digest.
    pub(crate) fn add_source_counts(&mut self, rows: u64, digest: RowDigest) {
        self.counts.source_rows = self.counts.source_rows.saturating_add(rows);
        self.counts.source_digest.combine(digest);
    }

    /// Adds a part of a row, and emits the units that are complete.
    pub(crate) fn push(
        &mut self,
        part: &RowPart<'_>,
        emit: &mut impl FnMut(Unit<'_>),
    ) -> Result<(), RowChanged> {
        match part {
            RowPart::Row { bytes, values } => self.row(bytes, values, emit),
            RowPart::Piece { column, offset, bytes } => self.piece(*column, *offset, bytes, emit),
        }
    }

    fn row(
        &mut self,
        bytes: &[u8],
        values: &[Value<'_>],
        emit: &mut impl FnMut(Unit<'_>),
    ) -> Result<(), RowChanged> {
        if self.open.is_some() {
            return Err(RowChanged);
        }
        let small = |at: usize| match values.get(at) {
            Some(Value::Bytes(bytes)) => Some(*bytes),
            _ => None,
        };
        let action = self.transformer.action(small);
        if let RowAction::Omit(why) = action {
            *self.counts.omitted.entry(why).or_default() += 1;
        }
        let large: u64 =
            values.iter().map(|value| if let Value::Large { size, .. } = value { *size } else { 0 }).sum();
        let is_touched = |(at, value): &(usize, &Value<'_>)| {
            matches!(value, Value::Large { .. }) && self.transformer.transforms(*at)
        };
        let touched = values.iter().enumerate().filter(is_touched).count();
        let mode = match action {
            RowAction::Omit(_) if large == 0 => return Ok(()),
            RowAction::Omit(_) => RowMode::Omit,
            RowAction::Keep if large == 0 && self.transformer.is_copy() => {
                self.emit_row(bytes, true, emit);
                return Ok(());
            }
            RowAction::Keep if touched == 0 || large > MAX_BUFFERED_BYTES => RowMode::PassThrough,
            RowAction::Keep => RowMode::Transform,
        };
        if large == 0 {
            let bytes =
                values.iter().map(|value| if let Value::Bytes(bytes) = value { Some(*bytes) } else { None });
            self.transform(bytes, emit);
            return Ok(());
        }
        if mode == RowMode::PassThrough {
            self.counts.skipped_large_values += touched as u64;
            self.pass_through(values, emit);
        }
        let held = |value: &Value<'_>| match value {
            Value::Null => BufferedValue::Null,
            Value::Bytes(bytes) => BufferedValue::Bytes(bytes.to_vec()),
            Value::Large { size, sha256 } => {
                BufferedValue::Large { size: *size, sha256: *sha256, received: 0, bytes: Vec::new() }
            }
        };
        self.open = Some(Open { values: values.iter().map(held).collect(), mode });
        Ok(())
    }

    /// Emits a row that is too large to buffer. Only its small values are transformed.
    fn pass_through(&mut self, values: &[Value<'_>], emit: &mut impl FnMut(Unit<'_>)) {
        let (mut new, mut changes) = (Vec::with_capacity(values.len()), ConstrainedChanges::default());
        for (at, value) in values.iter().enumerate() {
            let Value::Bytes(bytes) = value else {
                new.push(None);
                continue;
            };
            // A value that would grow into a large one stays unchanged: the order of pieces is fixed already.
            let value = self.value(at, bytes, &mut changes);
            let fits = !self.transformer.is_constrained(at) && value.len() <= LARGE_VALUE_BYTES;
            new.push(Some(value).filter(|_| fits));
        }
        self.keep_constrained(changes);
        let values: Vec<Value<'_>> =
            values.iter().zip(&new).map(|(old, new)| new.as_deref().map_or(*old, Value::Bytes)).collect();
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        write_row(&mut row, &values);
        self.emit_row(&row, false, emit);
        self.row = row;
    }

    fn piece(
        &mut self,
        column: usize,
        offset: u64,
        piece: &[u8],
        emit: &mut impl FnMut(Unit<'_>),
    ) -> Result<(), RowChanged> {
        let open = self.open.as_mut().ok_or(RowChanged)?;
        let mode = open.mode;
        // Pieces come in the order of the columns, each value from its beginning to its end.
        let next = open.values.iter_mut().enumerate().find_map(|(at, value)| match value {
            BufferedValue::Large { size, received, bytes, .. } if *received < *size => {
                Some((at, *size, received, bytes))
            }
            _ => None,
        });
        let (at, size, received, bytes) = next.ok_or(RowChanged)?;
        if at != column || *received != offset || size - *received < piece.len() as u64 {
            return Err(RowChanged);
        }
        *received += piece.len() as u64;
        match mode {
            RowMode::Transform => {
                if bytes.is_empty() {
                    // Without room to grow; it has at most `MAX_BUFFERED_BYTES`.
                    bytes.reserve_exact(usize::try_from(size).map_err(|_| RowChanged)?);
                }
                bytes.extend_from_slice(piece);
            }
            RowMode::PassThrough => {
                let column = u16::try_from(column).map_err(|_| RowChanged)?;
                emit(Unit::Piece { column, offset, bytes: piece });
            }
            RowMode::Omit => {}
        }
        let is_open = |value: &BufferedValue| matches!(value, BufferedValue::Large { size, received, .. } if received < size);
        if !open.values.iter().any(is_open) {
            self.complete_row(emit)?;
        }
        Ok(())
    }

    /// Called when all pieces of the open row were received.
    fn complete_row(&mut self, emit: &mut impl FnMut(Unit<'_>)) -> Result<(), RowChanged> {
        let Some(open) = self.open.take().filter(|open| open.mode == RowMode::Transform) else {
            return Ok(());
        };
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
        self.transform(bytes, emit);
        Ok(())
    }

    fn transform<'v>(
        &mut self,
        values: impl Iterator<Item = Option<&'v [u8]>>,
        emit: &mut impl FnMut(Unit<'_>),
    ) {
        let (old, mut changes): (Vec<_>, _) = (values.collect(), ConstrainedChanges::default());
        let mut new = Vec::with_capacity(old.len());
        for (at, value) in old.iter().enumerate() {
            new.push(value.map(|value| self.value(at, value, &mut changes)));
        }
        let hashes = self.update_address_hashes(&old, &mut new, &mut changes);
        if changes.values > 0 {
            let mut kept = new.clone();
            for (at, kept) in kept.iter_mut().enumerate() {
                if self.transformer.is_constrained(at) || hashes.contains(&at) {
                    *kept = old[at].map(Cow::Borrowed);
                }
            }
            let lengths = || new.iter().chain(&kept).flatten().map(|value| value.len());
            let fits = lengths().all(|length| length <= LARGE_VALUE_BYTES)
                && lengths().sum::<usize>() <= MAX_ALTERNATIVE_BYTES;
            if fits && !self.keeps_constrained {
                if self.held.is_full() {
                    self.finish(emit);
                }
                return self.held.push(&new, &kept, changes);
            }
            self.keep_constrained(changes);
            new = kept;
        }
        self.emit_values(&new, emit);
    }

    /// Gives hashes of addresses their new values. Returns the columns of those whose address is in a constraint.
    fn update_address_hashes<'v>(
        &mut self,
        old: &[Option<&'v [u8]>],
        new: &mut [Option<Cow<'v, [u8]>>],
        changes: &mut ConstrainedChanges,
    ) -> Vec<usize> {
        let updated = update_hashes(old, new, |at, value| self.transformer.accepts_hash(at, value));
        self.counts.report.changed_values += updated.len() as u64;
        let constrained =
            updated.iter().filter(|updated| self.transformer.is_constrained(updated.address_column));
        let constrained: Vec<_> = constrained.map(|updated| updated.hash_column).collect();
        changes.values = changes.values.saturating_add(u32::try_from(constrained.len()).unwrap_or(u32::MAX));
        constrained
    }

    /// A transformed value. What changes in a constraint is added up.
    fn value<'v>(&mut self, at: usize, value: &'v [u8], changes: &mut ConstrainedChanges) -> Cow<'v, [u8]> {
        if !self.transformer.is_constrained(at) {
            return self.transformer.value(at, value, &mut self.counts.report);
        }
        let mut own = Report::default();
        let new = self.transformer.value(at, value, &mut own);
        changes.add(&own);
        self.counts.report.merge(own);
        new
    }

    /// Counts a row whose changes in constraints are not sent: one that travels in pieces has no alternative.
    fn keep_constrained(&mut self, changes: ConstrainedChanges) {
        if changes.values > 0 {
            self.counts.take_back(&changes.not_sent());
        }
    }

    fn emit_values(&mut self, new: &[Option<Cow<'_, [u8]>>], emit: &mut impl FnMut(Unit<'_>)) {
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        write_values(&mut row, new);
        let large = new.iter().enumerate().filter_map(|(at, new)| Some((at, new.as_deref()?)));
        let large: Vec<_> = large.filter(|(_, bytes)| bytes.len() > LARGE_VALUE_BYTES).collect();
        self.emit_row(&row, large.is_empty(), emit);
        self.row = row;
        for (at, bytes) in large {
            for (n, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
                // A table has at most 4,096 columns.
                emit(Unit::Piece { column: at as u16, offset: (n * PIECE_BYTES) as u64, bytes: piece });
            }
        }
    }

    fn emit_row(&mut self, bytes: &[u8], whole: bool, emit: &mut impl FnMut(Unit<'_>)) {
        self.counts.target_rows += 1;
        self.counts.target_digest.add(bytes);
        emit(Unit::Row { bytes, whole });
    }
}
