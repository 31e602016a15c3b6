//! How a run can end other than well, and the exit code of each.

use std::time::Duration;

use reqwest::StatusCode;
use wpclone_task::{Code, Problem, TaskId};

/// The task failed or was cancelled.
pub(crate) const TASK_FAILED: u8 = 1;
const STREAM_FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNAVAILABLE: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The caller has to change something.
    #[error("{0}")]
    Usage(String),
    /// The API answered with a problem.
    #[error("{problem}")]
    Problem {
        /// The answer's status.
        status: StatusCode,
        /// What it said.
        problem: Box<Problem>,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The API answered what is none of its answers.
    #[error("{url} answered {status} with something that is no answer of wpclone's API: is --url right?")]
    NotOurApi {
        /// What was asked.
        url: String,
        /// The answer's status.
        status: StatusCode,
    },
    /// There was no answer, or no whole one.
    #[error("the API at {url} cannot be reached: {why}")]
    Unreachable {
        /// The API.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// `--timeout` has passed.
    #[error("the wait has ended, the task has not; look again with: wpclone tasks {0}")]
    WaitEnded(TaskId),
    /// Ctrl-C; all has been said.
    #[error("interrupted")]
    Interrupted,
    /// No key can be made.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// What is rewritten cannot be read on, or written.
    #[error("{what}: {error}")]
    Stream {
        /// Which of them.
        what: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// What is rewritten is larger than what fits into memory.
    #[error("{0}")]
    TooLarge(String),
    /// Standard output does not take the result.
    #[error("the result cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// The program's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Problem { status, .. } | Self::NotOurApi { status, .. }
                if status.is_client_error() && !passes(*status) =>
            {
                USAGE
            }
            // Whoever read our output has what they wanted: `wpclone tasks | head -1`.
            Self::Output(error) | Self::Stream { error, .. }
                if error.kind() == std::io::ErrorKind::BrokenPipe =>
            {
                0
            }
            Self::Stream { .. } | Self::TooLarge(_) => STREAM_FAILED,
            Self::Problem { .. }
            | Self::NotOurApi { .. }
            | Self::Unreachable { .. }
            | Self::WaitEnded(_)
            | Self::Random(_)
            | Self::Output(_) => UNAVAILABLE,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// Whether the API answered with this code.
    pub(crate) fn is(&self, code: Code) -> bool {
        matches!(self, Self::Problem { problem, .. } if problem.code == code)
    }

    /// How long the API wants us to wait before we try again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether what was asked may have been done all the same: the answer was lost on its way.
    pub(crate) fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem { status, .. } | Self::NotOurApi { status, .. } => {
                matches!(status.as_u16(), 500 | 502 | 504)
            }
            _ => false,
        }
    }

    /// Whether the same request may be answered well a moment later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem { status, .. } | Self::NotOurApi { status, .. } => passes(*status),
            _ => false,
        }
    }
}

fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
