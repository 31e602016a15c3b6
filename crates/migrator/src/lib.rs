#![doc = include_str!("../README.md")]

mod client;
mod content;
mod cursor;
mod definition;
mod error;
mod files;
mod frames;
mod import;
mod manifest;
mod pace;
#[cfg(test)]
#[path = "../build/pack.rs"]
mod pack;
mod plugin;
mod pool;
mod removal;
mod rows;
mod sending;
mod signing;
mod stream;

pub use client::{Client, Definitions, PhpMemory, Status};
pub use content::{ContentDigest, ContentHasher};
pub use cursor::Cursor;
pub use definition::{
    Check, Column, Definition, ForeignKey, Generated, Index as TableIndex, Part, Preset, Table, Trigger, View,
};
pub use error::{ClientError, Trouble};
pub use files::{Entry, EntryKind, FilePart, FileState, Files, Index, Root, Wanted};
pub use import::{
    Adjusted, Allowed, Begun, Defined, HARMLESS_FILE, Import, JobLimits, JobOptions, Loaded, Progress,
    RefusedFile, Stored,
};
pub use manifest::{Database, Limits, Manifest, Php, Plugin, RootFolder, WordPress};
pub use pace::{Budget, Pace};
pub use plugin::{PLUGIN, SETTINGS_PAGE, VERSION, ZIP, ZIP_STORED, page};
pub use removal::Removed;
pub use rows::{Cost, Count, Head, LARGE, RowDigest, RowPart, Rows, Value, write_row};
pub use sending::{Chunk, Parcel, PartKind, StoredPart};
pub use signing::{Key, KeyError, Request};
pub use stream::{IndexStream, RowStream};
