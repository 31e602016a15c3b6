#![doc = include_str!("../README.md")]

mod adaptive_batch;
mod buffer_pool;
mod client;
mod content_digest;
mod cost;
mod cursor;
mod definition;
mod earlier_job;
mod error;
mod files;
mod frames;
mod import;
mod import_job;
mod kept_json;
mod manifest;
mod outgoing;
#[cfg(test)]
#[path = "../build/pack.rs"]
mod pack;
mod paging;
mod plugin;
mod removal;
mod retry;
mod rows;
mod signing;
mod snapshot;
mod stream;
mod transport;
mod uploads_folder;

pub use adaptive_batch::{AdaptiveBatch, Budget};
pub use client::{Client, Definitions, Status};
pub use content_digest::{ContentDigest, ContentHasher};
pub use cost::{PhpMemory, ResponseCost};
pub use cursor::Cursor;
pub use definition::{
    Check, Column, DefaultValue, Definition, ForeignKey, Generated, IndexPart, Period, Sequence,
    StoredProgram, Table, TableIndex, Trigger, Unreadable, View,
};
pub use earlier_job::EarlierJob;
pub use error::{ClientError, MigratorError};
pub use files::{Entry, EntryKind, FilePart, FileRequest, FileStatus, Files, Index, Root, index_order};
pub use import::Import;
pub use import_job::{
    Adjustment, AllowedContent, ChunkPlace, DefineResult, JobInfo, JobLimits, JobOptions, LoadResult,
    RejectedFile, RejectedObject, SANDBOX_PLUGIN_FILE, StoreResult, TableProgress,
};
pub use manifest::{Database, Limits, Manifest, Php, Plugin, RootFolder, Uploads, UserTables, WordPress};
pub use outgoing::{FileBatch, OutgoingPart, PartKind, RowChunk};
pub use plugin::{PLUGIN, SETTINGS_PAGE, VERSION, ZIP, ZIP_STORED, page};
pub use removal::RemovalReport;
pub use rows::{
    AlternativeRows, ConstraintConflicts, LARGE_VALUE_BYTES, RowCount, RowDigest, RowPart, Rows, RowsHeader,
    Value, write_row,
};
pub use signing::{Key, KeyError, Request};
pub use snapshot::{KnownTable, MAX_SNAPSHOT_TABLES, Snapshot, SnapshotRows, SnapshotState};
pub use stream::{DefinitionStream, IndexStream, RowStream, StagedIndex};
pub use uploads_folder::is_uploads_folder;
