//! Why a transfer did not end well.

use wpclone_migrator::ClientError;

/// Why a transfer did not end well. [`Meter::has_touched`](crate::Meter::has_touched) says whether the target may have
/// been touched.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// It is not possible between these two, which shows before anything is moved.
    #[error("{1}")]
    Impossible(Obstacle, String),
    /// The source did not give what was asked for.
    #[error("the source: {0}")]
    Source(#[source] ClientError),
    /// The target did not take what was sent.
    #[error("the target: {0}")]
    Target(#[source] ClientError),
    /// What arrived is not what was sent.
    #[error("{0}")]
    Differs(String),
    /// It was told to stop.
    #[error("it was told to stop")]
    Stopped,
}

/// What makes a transfer impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// One of the two is a network of sites.
    Multisite,
    /// The target's disk has too little room.
    NoSpace,
    /// The target has content that nobody said may go.
    NotEmpty,
    /// The target's PHP is older than the source's WordPress needs.
    Php,
    /// One of the addresses is none that can be moved.
    Address,
}

impl TransferError {
    /// Whether the same may succeed at another time.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Source(error) | Self::Target(error) => error.is_transient(),
            Self::Differs(_) => true,
            Self::Impossible(..) | Self::Stopped => false,
        }
    }
}
