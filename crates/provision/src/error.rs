//! Why a provisioner did not do what it was asked.

use std::error::Error;

use crate::{CloneName, CloneProblem, Isolation};

/// Why a provisioner did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The provisioner does not work at the moment: something is missing, or another process has the state.
    #[error("the provisioner is unavailable: {0}")]
    Unavailable(String),
    /// The provisioner does not offer this isolation.
    #[error("clones cannot be {0} here")]
    IsolationUnavailable(Isolation),
    /// The limit of clones is reached.
    #[error("there are {limit} clones already, and no more are allowed")]
    LimitReached {
        /// The limit.
        limit: usize,
    },
    /// The owner has as many clones as one of several owners may have.
    #[error(
        "of the {total} places for clones one of several owners may have {limit}, and this one has {count}"
    )]
    OwnerLimitReached {
        /// The owner's clones.
        count: usize,
        /// The most of one owner.
        limit: usize,
        /// The most of all owners together.
        total: usize,
    },
    /// The disk has too little free space.
    #[error("a clone needs {needed} bytes of disk, and {free} are free")]
    InsufficientDisk {
        /// Bytes, the reserve included.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The clone has been deleted, or is being deleted.
    #[error("the clone {0} is deleted")]
    Gone(CloneName),
    /// No clone has this name.
    #[error("there is no clone {0}")]
    NotFound(CloneName),
    /// The clone of this name belongs to another task.
    #[error("the clone {0} belongs to another task")]
    NameTaken(CloneName),
    /// The clone is still being created.
    #[error("the clone {0} is not ready yet")]
    NotReady(CloneName),
    /// The clone is not published, and only a published one can be extended.
    #[error("the clone {0} is not published yet")]
    NotPublished(CloneName),
    /// The clone is published, and a published one is not adapted to its source any more.
    #[error("the clone {0} is published and cannot be changed")]
    AlreadyPublished(CloneName),
    /// The clone was stopped and is not started again.
    #[error("the clone {name} is stopped: {}", problem.detail)]
    Stopped {
        /// The clone.
        name: CloneName,
        /// Why.
        problem: CloneProblem,
    },
    /// What is stored of the clone cannot be read. It is kept as it is until it can be read again.
    #[error("the clone {name} is set aside, because it cannot be read: {reason}")]
    Unreadable {
        /// The clone.
        name: CloneName,
        /// What could not be read, and why.
        reason: String,
    },
    /// Another call has changed the clone first.
    #[error("another call has changed the clone {0} meanwhile")]
    Superseded(CloneName),
    /// The source's table prefix is not one that WordPress takes.
    #[error("the source's table prefix is not valid")]
    InvalidTablePrefix,
    /// What defines clones in the cluster is missing, broken or not active, so nothing would come of a new one.
    #[error("the cluster's definition of clones does not work: {0}")]
    DefinitionInactive(String),
    /// A quota of the cluster is reached.
    #[error("the cluster's quota is reached: {0}")]
    QuotaReached(String),
    /// The image of a clone cannot be pulled.
    #[error("the image {image} of the clone cannot be pulled: {reason}")]
    ImageUnavailable {
        /// The image.
        image: String,
        /// What the node says.
        reason: String,
    },
    /// A clone's pod ends again and again.
    #[error("the clone's pod crashes ({reason}); its log ends with: {log}")]
    Crashed {
        /// The container and how it ended.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// The database server of clones refuses a login or a statement, or cannot be reached.
    #[error("the clones' database server does not work: {0}")]
    DatabaseRefused(String),
    /// The cluster refuses a part of the clone, or failed to make it.
    #[error("the cluster cannot make the clone: {0}")]
    InstanceFailed(String),
    /// It took too long.
    #[error("{0} took too long")]
    Timeout(String),
    /// Something failed on our side.
    #[error("{operation}: {source}")]
    Internal {
        /// What failed.
        operation: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ProvisionError {
    /// The error of an operation that failed for this reason.
    pub fn internal(operation: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal { operation: operation.into(), source: source.into() }
    }
}
