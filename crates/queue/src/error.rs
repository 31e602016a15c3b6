//! What can go wrong.

/// Why the queue did not do it.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The lease has ended, or somebody else has the step: stop working on it.
    #[error("the lease is lost")]
    LeaseLost,
    /// The request is over 64 KiB or the result over 32 KiB.
    #[error("{0} is larger than the queue takes")]
    TooLarge(&'static str),
    /// A cursor or event id that we did not hand out.
    #[error("not a cursor of this queue")]
    BadCursor,
    /// Redis cannot be reached, or did not answer in time.
    #[error("Redis cannot be reached: {0}")]
    Unavailable(String),
    /// Redis answered what no function of ours answers.
    #[error("Redis answered unexpectedly: {0}")]
    Unexpected(String),
}
