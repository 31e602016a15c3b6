//! What workers keep of their work: pictures, pages, reports. Written by a worker, served by the api.

use wpclone_task::TaskId;

/// A store of artifacts in Redis, on a connection of its own, so that no heartbeat waits behind a picture.
#[derive(Clone)]
pub struct Artifacts {}

/// An artifact without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// File name, unique in its task: `[a-z0-9.-]`, at most 64 characters.
    pub name: String,
    /// Media type.
    pub kind: String,
    /// Size in bytes, not compressed.
    pub bytes: u64,
}

/// What was found under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The artifact.
    Found(Meta, Vec<u8>),
    /// It was there, and has been dropped or has expired.
    Gone,
    /// Never heard of it.
    Unknown,
}

/// Why an artifact was not kept or not read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Larger than an artifact, or all of a task's, may be.
    #[error("the artifact is too large to keep")]
    TooLarge,
    /// Not a name for an artifact.
    #[error("not a name for an artifact")]
    BadName,
    /// Redis failed.
    #[error("the artifact store cannot be reached")]
    Store(#[from] redis::RedisError),
}

impl Artifacts {
    /// A store that keeps at most `total_bytes` in all. Connects when first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(redis_url: &str, total_bytes: u64) -> Result<Self, ArtifactError> {
        let _ = (redis_url, total_bytes);
        todo!()
    }

    /// Keeps an artifact for a day, or until room is needed; one of the same name is replaced.
    ///
    /// # Errors
    /// Too large (2 MiB packed each, 8 MiB a task), a bad name, or Redis.
    pub async fn put(&self, task: TaskId, name: &str, kind: &str, bytes: &[u8]) -> Result<(), ArtifactError> {
        let _ = (task, name, kind, bytes);
        todo!()
    }

    /// All that is kept of a task, in the order it was written.
    ///
    /// # Errors
    /// Redis.
    pub async fn list(&self, task: TaskId) -> Result<Vec<Meta>, ArtifactError> {
        let _ = task;
        todo!()
    }

    /// One artifact.
    ///
    /// # Errors
    /// Redis.
    pub async fn get(&self, task: TaskId, name: &str) -> Result<Got, ArtifactError> {
        let _ = (task, name);
        todo!()
    }
}
