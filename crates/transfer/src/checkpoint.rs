//! The checkpoint of a table's transfer, stored on the target with each chunk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wpclone_migrator::{ClientError, Cursor, RowDigest};
use wpclone_rewrite::UnreplacedReason;

use crate::error::TransferError;
use crate::fidelity::OmitReason;
use crate::row_stream::Counts;

/// The largest number of a checkpoint: no site has so much of anything.
const MAX_COUNT: u64 = 1 << 53;

/// The state that a table's transfer resumes from: the counts at the source's cursor, and the units sent since. Member
/// names are short because a checkpoint is sent with every chunk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The table's [fingerprint](crate::plan::Plan::fingerprint). With another one the table is sent again.
    #[serde(rename = "p", default)]
    pub(crate) fingerprint: String,
    /// Where the source continues; of a complete table, the cursor after its last row.
    #[serde(rename = "c")]
    pub(crate) cursor: Option<Cursor>,
    /// Whether all rows were sent.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) complete: bool,
    #[serde(rename = "u")]
    pub(crate) units: u64,
    #[serde(rename = "sr")]
    pub(crate) source_rows: u64,
    #[serde(rename = "sd")]
    pub(crate) source_digest: RowDigest,
    #[serde(rename = "tr")]
    pub(crate) target_rows: u64,
    #[serde(rename = "td")]
    pub(crate) target_digest: RowDigest,
    #[serde(rename = "lo", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) omitted: BTreeMap<OmitReason, u64>,
    #[serde(rename = "ch")]
    pub(crate) changed: u64,
    #[serde(rename = "ad")]
    pub(crate) addresses: u64,
    #[serde(rename = "st", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unreplaced: BTreeMap<UnreplacedReason, u64>,
    #[serde(rename = "tl", default)]
    pub(crate) skipped_large_values: u64,
    #[serde(rename = "uc", default)]
    pub(crate) constraint_conflicts: u64,
}

impl Checkpoint {
    /// The checkpoint before the first row.
    pub(crate) fn start(print: &str) -> Self {
        Self { fingerprint: print.to_owned(), ..Self::default() }
    }

    /// The checkpoint after the last row, whose cursor is `end`.
    pub(crate) fn complete(print: &str, end: Option<Cursor>, counts: &Counts) -> Self {
        Self { complete: true, ..Self::at(print, end, counts) }
    }

    /// The checkpoint at a cursor of the source.
    pub(crate) fn at(print: &str, cursor: Option<Cursor>, counts: &Counts) -> Self {
        Self {
            fingerprint: print.to_owned(),
            complete: false,
            cursor,
            units: 0,
            source_rows: counts.source_rows,
            source_digest: counts.source_digest,
            target_rows: counts.target_rows,
            target_digest: counts.target_digest,
            omitted: counts.omitted.clone(),
            changed: counts.report.changed_values,
            addresses: counts.report.replaced_addresses,
            unreplaced: counts.report.unreplaced.clone(),
            skipped_large_values: counts.skipped_large_values,
            constraint_conflicts: counts.constraint_conflicts,
        }
    }

    /// As a JSON string: PHP returns an empty object as a list.
    pub(crate) fn to_json(&self) -> Result<Value, TransferError> {
        let text = serde_json::to_string(self).map_err(|_| ClientError::Malformed("a checkpoint"));
        text.map(Value::from).map_err(TransferError::Target)
    }

    /// `None` if the target returned something else than a checkpoint.
    pub(crate) fn from_json(state: &str) -> Option<Self> {
        serde_json::from_str(state).ok().filter(Self::is_plausible)
    }

    /// Whether its numbers can be counted on from.
    fn is_plausible(&self) -> bool {
        let counted = [self.units, self.source_rows, self.target_rows, self.changed, self.addresses];
        let reasons = self
            .omitted
            .values()
            .chain(self.unreplaced.values())
            .chain([&self.skipped_large_values, &self.constraint_conflicts]);
        counted.iter().chain(reasons).all(|number| *number <= MAX_COUNT)
    }

    pub(crate) fn restore(&self, counts: &mut Counts) {
        (counts.source_rows, counts.source_digest) = (self.source_rows, self.source_digest);
        (counts.target_rows, counts.target_digest) = (self.target_rows, self.target_digest);
        counts.omitted.clone_from(&self.omitted);
        counts.report.changed_values = self.changed;
        counts.report.replaced_addresses = self.addresses;
        counts.report.unreplaced.clone_from(&self.unreplaced);
        counts.skipped_large_values = self.skipped_large_values;
        counts.constraint_conflicts = self.constraint_conflicts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_with_numbers_that_no_site_has_is_not_resumed_from() {
        let of = |rows| Checkpoint { source_rows: rows, ..Checkpoint::start("print") }.to_json().unwrap();
        let read = |state: &Value| Checkpoint::from_json(state.as_str().unwrap());
        assert_eq!(read(&of(MAX_COUNT)).unwrap().source_rows, MAX_COUNT);
        assert!(read(&of(u64::MAX)).is_none());
        assert!(Checkpoint::from_json("{}").is_none() && Checkpoint::from_json("null").is_none());
    }
}
