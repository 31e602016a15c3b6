//! What was moved, what was changed, what was left out: the proof that a copy is true.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wpclone_migrator::{PhpMemory, RowDigest};
use wpclone_rewrite::Report;

/// Why something is not in the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// A session or an application password: they would open the copy with the original's keys.
    Session,
    /// A salt or key of WordPress: a copy has its own.
    Salt,
    /// A view or trigger, which the target was not allowed to make.
    Routine,
    /// A file that the source leaves out itself: caches, backups, logs, drop-ins, secrets of the server.
    File,
    /// A file that went away, or changed again and again, while it was read.
    Moving,
    /// A file that the target does not take.
    Refused,
}

/// A table on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableFidelity {
    /// Its name on the source.
    pub name: String,
    /// Its name on the target, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed: Option<String>,
    /// Rows that the source gave.
    pub source_rows: u64,
    /// Of these, rows that an attempt before had read already.
    #[serde(skip_serializing_if = "is_zero")]
    pub taken_up: u64,
    /// Digest of these rows.
    pub source_digest: RowDigest,
    /// Rows that the target has.
    pub target_rows: u64,
    /// Digest of those rows, as the target counted them.
    pub target_digest: RowDigest,
    /// Rows that stayed behind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<LeftOut, u64>,
    /// Values that were changed on the way.
    pub changed_values: u64,
    /// How far the number of its next row was moved ahead.
    #[serde(skip_serializing_if = "is_zero")]
    pub moved_ahead: u64,
    /// How often it was read again because it moved meanwhile.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_again: u32,
    /// Whether the source had the same rows before and after it was read. It has not when they change all the time.
    pub settled: bool,
    /// What the target had to define otherwise, such as a collation that it does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adjusted: Vec<String>,
}

/// A file that is not in the copy, or differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileNote {
    /// Its root and path; what is no UTF-8 is replaced.
    pub path: String,
    /// Why.
    pub why: LeftOut,
    /// More of it, in a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// All files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FilesFidelity {
    /// Files that the copy has of the source.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, files that an attempt before had sent already.
    #[serde(skip_serializing_if = "is_zero")]
    pub taken_up: u64,
    /// Of these, files of WordPress itself that travelled because they differ from the target's.
    pub core: u64,
    /// One digest over the paths and contents of all of them: the same on both sides.
    pub digest: String,
    /// Files that are not in the copy, by reason.
    pub left_out: BTreeMap<LeftOut, u64>,
    /// The first of them by name.
    pub notes: Vec<FileNote>,
}

/// The whole proof.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// Versions on both sides: `wordpress`, `php`, `database`.
    pub source: Versions,
    /// Those of the target.
    pub target: Versions,
    /// What was noticed before anything was moved, and did not stand in the way.
    pub warnings: Vec<String>,
    /// Every table.
    pub tables: Vec<TableFidelity>,
    /// All files.
    pub files: FilesFidelity,
    /// What the rewriting did, over all values.
    pub rewritten: Report,
    /// Views and triggers that were left out, by name.
    pub routines_left_out: Vec<String>,
    /// Plugins that are there, but switched off: they would lock the copy's owner out.
    pub switched_off: Vec<String>,
    /// Bytes of rows and files that were moved.
    pub moved_bytes: u64,
    /// The target's folder of must-use plugins.
    #[serde(skip)]
    pub must_use_folder: String,
    /// What it cost the sites.
    pub php_memory: Memory,
}

/// What PHP had on each side for the request that took most; `None` where it does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Of the source.
    pub source: Option<PhpMemory>,
    /// Of the target.
    pub target: Option<PhpMemory>,
}

/// Versions of a side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// WordPress.
    pub wordpress: String,
    /// PHP.
    pub php: String,
    /// Database, kind and version.
    pub database: String,
}

/// What of the proof stands in a task's result; all of it is an artifact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Tables.
    pub tables: usize,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Values that were changed.
    pub changed_values: u64,
    /// Addresses that were replaced.
    pub addresses: u64,
    /// Old addresses that stayed, by reason.
    pub left_over: BTreeMap<wpclone_rewrite::Why, u64>,
    /// Rows and files that were left out, by reason.
    pub left_out: BTreeMap<LeftOut, u64>,
    /// See [`Fidelity::switched_off`].
    pub switched_off: Vec<String>,
    /// See [`Fidelity::warnings`].
    pub warnings: Vec<String>,
}

impl Fidelity {
    /// The summary.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut left_out = self.files.left_out.clone();
        for (why, count) in self.tables.iter().flat_map(|table| &table.left_out) {
            *left_out.entry(*why).or_default() += count;
        }
        if !self.routines_left_out.is_empty() {
            left_out.insert(LeftOut::Routine, self.routines_left_out.len() as u64);
        }
        Summary {
            tables: self.tables.len(),
            rows: self.tables.iter().map(|table| table.target_rows).sum(),
            files: self.files.files,
            file_bytes: self.files.bytes,
            changed_values: self.rewritten.changed,
            addresses: self.rewritten.addresses,
            left_over: self.rewritten.stayed.clone(),
            left_out,
            switched_off: self.switched_off.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}
