//! Why a provisioner did not do what it was asked for.

/// Why a provisioner did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// It cannot work at all at this moment: something is missing, or another process has the state.
    #[error("clones cannot be made here: {0}")]
    Unavailable(String),
    /// It has no such isolation.
    #[error("this isolation is not available: {0}")]
    IsolationUnavailable(String),
    /// There are as many clones as there may be.
    #[error("there are {0} clones already, and no more are allowed")]
    Full(usize),
    /// The disk has too little room.
    #[error("a clone needs {need} bytes of disk, and {have} are free")]
    NoSpace {
        /// Bytes.
        need: u64,
        /// Bytes.
        have: u64,
    },
    /// The clone was there and is deleted, or is being deleted.
    #[error("the clone {0} is gone")]
    Gone(crate::CloneName),
    /// There is no such clone.
    #[error("there is no clone {0}")]
    NotFound(crate::CloneName),
    /// There is one of this name that belongs to another task.
    #[error("the clone {0} belongs to another task")]
    Taken(crate::CloneName),
    /// It took too long.
    #[error("{0} took too long")]
    Late(String),
    /// Something broke on our side.
    #[error("{0}")]
    Failed(String),
}

impl ProvisionError {
    /// The problem code that a task or an answer tells it by.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "PROVISIONER_UNAVAILABLE",
            Self::IsolationUnavailable(_) => "ISOLATION_UNAVAILABLE",
            Self::Full(_) => "CLONES_FULL",
            Self::NoSpace { .. } => "DISK_INSUFFICIENT",
            Self::Gone(_) => "CLONE_GONE",
            Self::NotFound(_) => "CLONE_NOT_FOUND",
            Self::Taken(_) | Self::Failed(_) => "WORKER_FAULT",
            Self::Late(_) => "DEADLINE",
        }
    }

    pub(crate) fn failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| match error.kind() {
            std::io::ErrorKind::TimedOut => Self::Late(what.to_string()),
            _ => Self::Failed(format!("{what}: {error}")),
        }
    }
}
