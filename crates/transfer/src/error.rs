//! Errors of a transfer.

use wpclone_migrator::ClientError;

/// Why a transfer failed. [`TransferProgress::may_have_changed_target`](crate::TransferProgress::may_have_changed_target)
/// says whether live content of the target may have changed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The transfer is not possible between these sites. Nothing was transferred.
    #[error("{1}")]
    Preflight(PreflightFailure, String),
    /// A request to the source failed.
    #[error("the source: {0}")]
    Source(#[source] ClientError),
    /// A request to the target failed.
    #[error("the target: {0}")]
    Target(#[source] ClientError),
    /// A table could not be transferred, and a copy cannot do without it.
    #[error("the table {name}: {source}")]
    Table {
        /// Its name on the source.
        name: String,
        /// The error of the source or target.
        #[source]
        source: Box<TransferError>,
    },
    /// The target's content is not what was sent, or the source changed too often to be read.
    #[error("{0}")]
    Verification(String),
    /// The rows or the definition of a table changed each time it was read.
    #[error("{0}")]
    TableChanged(String),
    /// Neither side has brought anything new for ten minutes.
    #[error("nothing was transferred for ten minutes")]
    Stalled,
    /// The transfer was cancelled.
    #[error("the transfer was cancelled")]
    Cancelled,
}

impl TransferError {
    /// The error of a request, with the table that it was about.
    pub(crate) fn of_table(self, name: &str) -> Self {
        match self {
            Self::Source(_) | Self::Target(_) => {
                Self::Table { name: name.to_owned(), source: Box::new(self) }
            }
            other => other,
        }
    }

    /// The error without the table that it is about.
    #[must_use]
    pub fn cause(&self) -> &Self {
        match self {
            Self::Table { source, .. } => source.cause(),
            cause => cause,
        }
    }

    /// As [`Self::cause`], by value.
    #[must_use]
    pub fn into_cause(self) -> Self {
        match self {
            Self::Table { source, .. } => source.into_cause(),
            cause => cause,
        }
    }

    /// Whether it is caused by what a site contains, so that another attempt fails in the same way.
    #[must_use]
    pub fn is_about_content(&self) -> bool {
        matches!(self.cause(), Self::Source(error) | Self::Target(error) if error.is_about_content())
    }

    /// Whether a table cannot be copied, while others can: its content is the cause, or that it changes.
    pub(crate) fn is_about_table(&self) -> bool {
        self.is_about_content() || matches!(self.cause(), Self::TableChanged(_))
    }
}

/// Why a transfer is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreflightFailure {
    /// One of the sites is a multisite network.
    Multisite,
    /// The target's disk has too little free space.
    DiskSpace,
    /// The target is a site that has content of its own.
    TargetNotEmpty,
    /// The target's PHP is older than the source's WordPress requires.
    PhpVersion,
    /// The address of a site cannot be rewritten.
    InvalidAddress,
}
