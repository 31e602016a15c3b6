//! Errors of a command and their exit codes.

use std::time::Duration;

use reqwest::StatusCode;
use wpclone_task::{Code, Problem, TaskId};

/// The task failed or was cancelled.
pub(crate) const TASK_FAILED: u8 = 1;
const STREAM_FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNAVAILABLE: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Invalid arguments or input.
    #[error("{0}")]
    Usage(String),
    /// The API returned a problem.
    #[error("{problem}")]
    Problem {
        /// HTTP status.
        status: StatusCode,
        /// The problem.
        problem: Box<Problem>,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The response is not one of the API's.
    #[error("{url} returned {status} with a response that is not from wpclone's API; check --url")]
    NotOurApi {
        /// The API's address.
        url: String,
        /// HTTP status.
        status: StatusCode,
    },
    /// No response, or an incomplete one.
    #[error("the API at {url} cannot be reached: {why}")]
    Unreachable {
        /// The API's address.
        url: String,
        /// The cause.
        why: String,
    },
    /// `--timeout` has passed.
    #[error("the wait timed out; the task keeps running, see it with: wpclone tasks {0}")]
    WaitEnded(TaskId),
    /// Ctrl-C. The message was printed already.
    #[error("interrupted")]
    Interrupted,
    /// No key can be created.
    #[error("the system provides no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// Reading or writing a rewritten stream failed.
    #[error("{what}: {error}")]
    Stream {
        /// Which operation failed.
        what: &'static str,
        /// The system's error.
        error: std::io::Error,
    },
    /// The input cannot be rewritten: a value is larger than the limit, or it is not text.
    #[error("{0}")]
    UnsupportedInput(String),
    /// Writing the result to standard output failed.
    #[error("the result cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// The program's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Problem { status, .. } | Self::NotOurApi { status, .. }
                if status.is_client_error() && !is_transient_status(*status) =>
            {
                USAGE
            }
            // The reader closed the pipe: `wpclone tasks | head -1`.
            Self::Output(error) | Self::Stream { error, .. }
                if error.kind() == std::io::ErrorKind::BrokenPipe =>
            {
                0
            }
            Self::Stream { .. } | Self::UnsupportedInput(_) => STREAM_FAILED,
            Self::Problem { .. }
            | Self::NotOurApi { .. }
            | Self::Unreachable { .. }
            | Self::WaitEnded(_)
            | Self::Random(_)
            | Self::Output(_) => UNAVAILABLE,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// Whether the API returned this code.
    pub(crate) fn has_code(&self, code: Code) -> bool {
        matches!(self, Self::Problem { problem, .. } if problem.code == code)
    }

    /// The API's `Retry-After`.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the request may have succeeded and only its response was lost.
    pub(crate) fn may_have_succeeded(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem { status, .. } | Self::NotOurApi { status, .. } => {
                matches!(status.as_u16(), 500 | 502 | 504)
            }
            _ => false,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem { status, .. } | Self::NotOurApi { status, .. } => is_transient_status(*status),
            _ => false,
        }
    }
}

fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
