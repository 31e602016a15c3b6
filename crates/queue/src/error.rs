//! Errors of the queue.

use wpclone_redis::OtherLayout;

/// Why a call of the queue failed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The lease has expired, or another worker has the step: stop working on it.
    #[error("the lease is lost")]
    LeaseLost,
    /// The request is over 64 KiB or the result over 32 KiB.
    #[error("{0} is larger than the queue accepts")]
    TooLarge(&'static str),
    /// The cursor or event id was not returned by this queue.
    #[error("not a cursor of this queue")]
    BadCursor,
    /// Redis cannot be reached, or did not answer in time.
    #[error("Redis cannot be reached: {0}")]
    Unavailable(String),
    /// Redis holds data of another layout; nothing was changed.
    #[error(transparent)]
    OtherLayout(#[from] OtherLayout),
    /// The task's record cannot be read by this version; nothing was changed.
    #[error("the task's record cannot be read by this version")]
    Unreadable,
    /// Redis returned something that none of our functions returns.
    #[error("unexpected response from Redis: {0}")]
    Unexpected(String),
}
