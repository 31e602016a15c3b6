//! What changed in all tables of a site, read at one moment.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ClientError;
use crate::cursor::Cursor;
use crate::definition::{MAX_COLUMNS, MAX_NAME_BYTES};
use crate::frames::Frames;
use crate::kept_json;
use crate::rows::{RowDigest, RowPart, RowsHeader, parts_of};

/// The maximum number of tables of one snapshot.
pub const MAX_SNAPSHOT_TABLES: usize = 500;

/// What a client has read of a table.
#[derive(Debug, Clone, Serialize)]
pub struct KnownTable<'a> {
    /// Its name.
    pub table: &'a str,
    /// How many rows.
    pub rows: u64,
    /// Their digest.
    pub digest: RowDigest,
    /// The cursor after the last one ([`Rows::end`](crate::Rows::end)).
    pub cursor: Option<&'a Cursor>,
}

/// How what was read of a table, with the rows of the snapshot, compares with the table in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotState {
    /// It is the table as it was at this moment.
    Exact,
    /// Rows differ, and do not fit into the response.
    Changed,
    /// It was not compared, or its engine has no snapshots and it changed.
    Unknown,
}

/// Rows of one table of a snapshot: those after the known ones, or all.
#[derive(Debug, PartialEq)]
pub struct SnapshotRows {
    /// Table and columns.
    pub header: RowsHeader,
    /// Whether these are all rows of the table, in place of the known ones.
    pub whole: bool,
    /// How many.
    pub rows: u64,
    /// Their digest.
    pub digest: RowDigest,
    /// The cursor after the last one.
    pub end: Option<Cursor>,
    /// The frames with the rows.
    frames: Range<usize>,
}

/// The response of the route `snapshot`.
#[derive(Debug)]
pub struct Snapshot {
    frames: Frames,
    rows: HashMap<String, SnapshotRows>,
    states: HashMap<String, SnapshotState>,
}

#[derive(Deserialize)]
struct Header {
    #[serde(flatten)]
    rows: RowsHeader,
    whole: bool,
}

#[derive(Deserialize)]
struct Summary {
    rows: u64,
    digest: RowDigest,
    end: Option<Cursor>,
    complete: bool,
}

#[derive(Deserialize)]
struct Verdict {
    table: String,
    state: SnapshotState,
}

impl Snapshot {
    /// Parses and verifies a response about these tables.
    pub(crate) fn parse(frames: Frames, tables: &[KnownTable<'_>]) -> Result<Self, ClientError> {
        let wrong = || ClientError::Malformed("a snapshot");
        let (mut rows, mut states) = (HashMap::new(), HashMap::new());
        let is_known = |name: &str| tables.iter().any(|table| table.table == name);
        let mut open: Option<(Header, usize)> = None;
        for (at, (kind, payload)) in frames.iter().enumerate() {
            match (kind, open.take()) {
                (b'H', None) => {
                    let header: Header = kept_json::parse(payload).ok_or_else(wrong)?;
                    let columns = &header.rows.columns;
                    let is_bounded = (1..=MAX_COLUMNS).contains(&columns.len())
                        && columns.iter().all(|name| name.len() <= MAX_NAME_BYTES);
                    if !is_bounded || !is_known(&header.rows.table) {
                        return Err(wrong());
                    }
                    open = Some((header, at + 1));
                }
                (b'R' | b'P', Some(section)) => open = Some(section),
                (b'S', Some((Header { rows: header, whole }, from))) => {
                    let sum: Summary = serde_json::from_slice(payload).map_err(|_| wrong())?;
                    let Summary { rows: count, digest, end, complete } = sum;
                    let section = SnapshotRows { header, whole, rows: count, digest, end, frames: from..at };
                    // Of rows that are not complete nothing is used.
                    if complete {
                        verify(&frames, &section)?;
                        rows.insert(section.header.table.clone(), section);
                    }
                }
                (b'V', None) => {
                    let verdict: Verdict = serde_json::from_slice(payload).map_err(|_| wrong())?;
                    if !is_known(&verdict.table) {
                        return Err(wrong());
                    }
                    states.insert(verdict.table, verdict.state);
                }
                _ => return Err(wrong()),
            }
        }
        if open.is_some() { Err(wrong()) } else { Ok(Self { frames, rows, states }) }
    }

    /// How a table compares.
    #[must_use]
    pub fn state(&self, table: &str) -> SnapshotState {
        self.states.get(table).copied().unwrap_or(SnapshotState::Unknown)
    }

    /// The rows of a table to add, or to replace it with; `None` if there are none.
    #[must_use]
    pub fn rows(&self, table: &str) -> Option<&SnapshotRows> {
        self.rows.get(table).filter(|rows| rows.whole || rows.rows > 0)
    }

    /// Rows and pieces in order. They were validated when the response was parsed: none of them is an error.
    pub fn parts<'s>(
        &'s self,
        rows: &'s SnapshotRows,
    ) -> impl Iterator<Item = Result<RowPart<'s>, ClientError>> {
        parts(&self.frames, rows)
    }

    /// Length of the response in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }
}

fn parts<'s>(
    frames: &'s Frames,
    rows: &'s SnapshotRows,
) -> impl Iterator<Item = Result<RowPart<'s>, ClientError>> {
    parts_of(frames.range(rows.frames.clone()), rows.header.columns.len())
}

/// Checks the number and digest of rows.
fn verify(frames: &Frames, section: &SnapshotRows) -> Result<(), ClientError> {
    let (mut rows, mut digest) = (0, RowDigest::default());
    for part in parts(frames, section) {
        if let RowPart::Row { bytes, .. } = part? {
            rows += 1;
            digest.add(bytes);
        }
    }
    if (rows, digest) == (section.rows, section.digest) {
        Ok(())
    } else {
        Err(ClientError::Malformed("rows of a snapshot"))
    }
}
