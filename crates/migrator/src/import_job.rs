//! An import job: its options, its state, and what a target answers to its requests.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::ClientError;
use crate::error::{MigratorError, printable};
use crate::files::Root;
use crate::kept_json::{bounded, first, text_or_nothing};
use crate::rows::ConstraintConflicts;

/// What a target may report for one request: adjustments of a definition; each is cut when it is shown.
const MAX_ADJUSTMENTS: usize = 100;
/// The most values in one of an adjustment: an index has a list of columns.
const MAX_PARTS_OF_ADJUSTMENT: usize = 256;

/// Options of a job.
#[derive(Debug, Clone, Serialize)]
pub struct JobOptions {
    /// What is imported besides tables and ordinary files.
    pub allow: Vec<AllowedContent>,
    /// Whether a rollback must be possible after the swap.
    pub reversible: bool,
    /// The roots whose files are replaced.
    pub roots: Vec<Root>,
    /// Whether to replace a job that has been idle for 15 minutes.
    pub replace: bool,
}

/// Content that a target imports only if allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedContent {
    /// Views.
    Views,
    /// Triggers.
    Triggers,
    /// Files in `uploads` that a web server may execute.
    PhpInUploads,
    /// The must-use plugin that sandboxes a copy.
    SandboxPlugin,
    /// Tables without the target's table prefix.
    UnprefixedTables,
}

/// The file name of that must-use plugin.
pub const SANDBOX_PLUGIN_FILE: &str = "wpclone-sandbox.php";

/// The state of a job.
#[derive(Debug, Clone, Deserialize)]
pub struct JobInfo {
    /// Whether the job existed before.
    pub resumed: bool,
    /// The phase: `open`, `prepared`, `swapping`, `swapped`, `rolling_back` or `cleaning_up`.
    pub phase: String,
    /// The roots whose files it replaces, as it was started with.
    #[serde(default)]
    pub roots: Vec<Root>,
    /// Its tables and their progress.
    pub tables: Vec<TableProgress>,
    /// Limits of its requests.
    pub limits: JobLimits,
}

/// Limits of a job's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct JobLimits {
    /// The longest time that a request may ask for, in milliseconds.
    pub budget_ms: u32,
    /// The maximum length of a request, in bytes.
    pub bytes: u64,
    /// The database's `max_allowed_packet`.
    pub max_allowed_packet: u64,
    /// How many requests may run at the same time.
    pub parallel: u32,
}

/// The progress of a table.
#[derive(Debug, Clone, Deserialize)]
pub struct TableProgress {
    /// Its id in the job.
    pub table_id: u32,
    /// Its name.
    pub name: String,
    /// The last chunk that was loaded.
    pub chunk: u32,
    /// Number of rows loaded.
    pub rows: u64,
    /// The cursor sent with that chunk, if that is a text.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub cursor: Option<String>,
    /// Whether the last chunk was loaded.
    pub complete: bool,
    /// Rows that were loaded in their other form.
    #[serde(default)]
    pub constraint_conflicts: ConstraintConflicts,
}

/// The result of defining a table, view or trigger.
#[derive(Debug, Clone, Deserialize)]
pub struct DefineResult {
    /// Its id in the job.
    pub table_id: u32,
    /// What differs from the definition.
    #[serde(deserialize_with = "first::<MAX_ADJUSTMENTS, _, _>")]
    pub adjustments: Vec<Adjustment>,
    /// The target's SHOW CREATE TABLE of a table; empty if it is very long.
    #[serde(default)]
    pub statement: String,
}

/// A difference from a definition.
#[derive(Debug, Clone, Deserialize)]
pub struct Adjustment {
    /// The path of the field in the definition.
    pub field: String,
    /// The requested value.
    #[serde(deserialize_with = "bounded::<MAX_PARTS_OF_ADJUSTMENT, _>")]
    pub from: Json,
    /// The value used instead.
    #[serde(deserialize_with = "bounded::<MAX_PARTS_OF_ADJUSTMENT, _>")]
    pub to: Json,
}

/// Where a chunk is among those of its table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Whether it is the last one.
    pub last: bool,
    /// Whether it may follow the last one.
    pub append: bool,
}

/// The result of loading a chunk.
#[derive(Debug, Clone, Deserialize)]
pub struct LoadResult {
    /// The chunk's number.
    pub chunk: u32,
    /// Number of rows of the whole table so far.
    pub rows: u64,
    /// Rows of the whole table so far that were loaded in their other form.
    #[serde(default)]
    pub constraint_conflicts: ConstraintConflicts,
}

/// The result of storing parts of files.
#[derive(Debug, Clone, Deserialize)]
pub struct StoreResult {
    /// Number of parts stored.
    pub stored: u64,
    /// The rejected ones.
    pub rejected: Vec<RejectedFile>,
}

/// A file that a target rejected.
#[derive(Debug, Clone, Deserialize)]
pub struct RejectedFile {
    /// Its root.
    pub root: String,
    /// Its path, as base64.
    pub path: String,
    /// The field that was not acceptable: `root`, `path`, `kind` or `php`.
    pub field: String,
}

/// What the target's database rejected when the content was swapped in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RejectedObject {
    /// `view`, `trigger`, `foreign_key`, or `default` for a column that a sequence numbers.
    #[serde(default, deserialize_with = "printable")]
    pub kind: String,
    /// Its name; for a foreign key or default the table's name, a dot, and its own or the column's.
    pub name: String,
    /// The number of the database's error.
    #[serde(default)]
    pub errno: u32,
    /// What the database says.
    #[serde(default, deserialize_with = "printable")]
    pub message: String,
}

impl RejectedObject {
    /// The error that creating it gave.
    #[must_use]
    pub fn error(&self) -> ClientError {
        let error = Box::new(MigratorError::of_database(self.errno, &self.message));
        ClientError::Migrator { status: 200, error }
    }
}
