//! Rows that are sent after all others of their table: with a new address they may equal a row that does not change, in
//! a unique index, or violate a check.

use std::borrow::Cow;

use wpclone_migrator::{AlternativeRows, ConstraintConflicts, RowDigest, Value, write_row};
use wpclone_rewrite::Report;

/// Rows are held back up to this size; two tables are transferred at a time.
const MAX_HELD_BYTES: usize = 4 << 20;

/// Rows that are held back.
#[derive(Default)]
pub(crate) struct HeldRows {
    rows: Vec<HeldRow>,
    bytes: usize,
}

/// A row with all its new values, and with its old ones in constraints.
struct HeldRow {
    new: Vec<u8>,
    kept: Vec<u8>,
    changes: ConstrainedChanges,
}

/// What changed in the columns of constraints of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ConstrainedChanges {
    pub(crate) values: u32,
    pub(crate) addresses: u32,
}

impl ConstrainedChanges {
    pub(crate) fn add(&mut self, report: &Report) {
        let add = |sum: &mut u32, more: u64| {
            *sum = sum.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        };
        add(&mut self.values, report.changed_values);
        add(&mut self.addresses, report.replaced_addresses);
    }

    /// A row that was never sent with the changes.
    pub(crate) fn not_sent(self) -> ConstraintConflicts {
        ConstraintConflicts {
            rows: 1,
            values: self.values.into(),
            addresses: self.addresses.into(),
            digest: RowDigest::default(),
        }
    }
}

impl HeldRows {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= MAX_HELD_BYTES
    }

    pub(crate) fn push(
        &mut self,
        new: &[Option<Cow<'_, [u8]>>],
        kept: &[Option<Cow<'_, [u8]>>],
        changes: ConstrainedChanges,
    ) {
        let encoded = |values: &[Option<Cow<'_, [u8]>>]| {
            let mut row = Vec::new();
            write_values(&mut row, values);
            row
        };
        let row = HeldRow { new: encoded(new), kept: encoded(kept), changes };
        self.bytes += row.new.len() + row.kept.len();
        self.rows.push(row);
    }

    /// Passes on all rows.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(AlternativeRows<'_>)) {
        self.bytes = 0;
        for HeldRow { new, kept, changes: ConstrainedChanges { values, addresses } } in self.rows.drain(..) {
            take(AlternativeRows { new: &new, kept: &kept, values, addresses });
        }
    }
}

/// Appends an encoded row of these values.
pub(crate) fn write_values(row: &mut Vec<u8>, values: &[Option<Cow<'_, [u8]>>]) {
    let values: Vec<Value<'_>> =
        values.iter().map(|value| value.as_deref().map_or(Value::Null, Value::of)).collect();
    write_row(row, &values);
}
