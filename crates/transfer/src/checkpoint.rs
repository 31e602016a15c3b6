//! Where the transfer of a table can be taken up again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wpclone_migrator::{ClientError, Cursor, RowDigest};
use wpclone_rewrite::UnreplacedReason;

use crate::error::TransferError;
use crate::fidelity::OmitReason;
use crate::row_stream::Counts;

/// Where a table's transfer is, as it comes back when it is taken up again: all that was counted when the source's cursor
/// was `cursor`, and how many units were sent since.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// What the table was sent as ([`Plan::print`](crate::plan::Plan::print)).
    #[serde(rename = "p", default)]
    pub(crate) fingerprint: String,
    #[serde(rename = "c")]
    pub(crate) cursor: Option<Cursor>,
    /// Whether nothing follows.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ended: bool,
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
    pub(crate) too_large: u64,
}

impl Checkpoint {
    /// Before the first row.
    pub(crate) fn first(print: &str) -> Self {
        Self { fingerprint: print.to_owned(), ..Self::default() }
    }

    /// The place between two rows that the source's cursor says; without one, behind the last row.
    pub(crate) fn of(print: &str, cursor: Option<Cursor>, counts: &Counts) -> Self {
        Self {
            fingerprint: print.to_owned(),
            ended: cursor.is_none(),
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
            too_large: counts.too_large,
        }
    }

    /// As text: what is sent as an object comes back from PHP as a list where it is empty.
    pub(crate) fn text(&self) -> Result<Value, TransferError> {
        let text = serde_json::to_string(self).map_err(|_| ClientError::Malformed("a place"));
        text.map(Value::from).map_err(TransferError::Target)
    }

    pub(crate) fn read(state: &Value) -> Option<Self> {
        serde_json::from_str(state.as_str()?).ok()
    }

    pub(crate) fn restore(&self, counts: &mut Counts) {
        (counts.source_rows, counts.source_digest) = (self.source_rows, self.source_digest);
        (counts.target_rows, counts.target_digest) = (self.target_rows, self.target_digest);
        counts.omitted.clone_from(&self.omitted);
        counts.report.changed_values = self.changed;
        counts.report.replaced_addresses = self.addresses;
        counts.report.unreplaced.clone_from(&self.unreplaced);
        counts.too_large = self.too_large;
    }
}
