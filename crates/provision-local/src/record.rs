//! What is stored of a clone.

use std::io;

use serde::{Deserialize, Serialize};
use wpclone_provision::{CloneInfo, CloneName, Routing};

use crate::clone_paths::ClonePaths;
use crate::files::write_atomically;
use crate::stored::{self, ReadError};

/// The version of `clone.json`. It changes with every field and variant that is added, removed or changed.
const VERSION: u32 = 3;

/// A clone's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloneRecord {
    version: u32,
    pub(crate) info: CloneInfo,
    /// The form of its canonical address.
    pub(crate) routing: Routing,
    /// Which of the clones' users it has.
    pub(crate) slot: u32,
}

impl CloneRecord {
    pub(crate) fn new(info: CloneInfo, routing: Routing, slot: u32) -> Self {
        Self { version: VERSION, info, routing, slot }
    }

    pub(crate) fn write(&self, paths: &ClonePaths) -> io::Result<()> {
        write_atomically(&paths.record(), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    pub(crate) fn read(paths: &ClonePaths, name: &CloneName) -> Result<Self, ReadError> {
        let record: Self = stored::read(&paths.record(), VERSION)?;
        if record.info.name == *name { Ok(record) } else { Err(ReadError::OtherClone("clone.json".into())) }
    }
}
