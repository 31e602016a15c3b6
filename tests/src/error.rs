//! What can go wrong in the lab. Tests return it, so its `Debug` form is for people.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why the lab could not provide what a test asked for.
#[derive(thiserror::Error)]
pub enum LabError {
    /// A program is not installed or not built.
    #[error("{what} is missing; {help}")]
    Missing {
        /// The program or folder.
        what: String,
        /// What to do about it.
        help: &'static str,
    },
    /// A program exited unexpectedly, or with a failure.
    #[error("{program} ended: {log}")]
    Ended {
        /// Its name.
        program: String,
        /// The end of its log or its output.
        log: String,
    },
    /// A condition did not hold in time.
    #[error("waited {limit:?} in vain for {what}; the log ends: {log}")]
    Late {
        /// What was awaited.
        what: String,
        /// For how long.
        limit: Duration,
        /// The end of the log of the program concerned.
        log: String,
    },
    /// A file or folder.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: std::io::Error,
    },
    /// Input and output other than files.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The supervisor.
    #[error(transparent)]
    Supervisor(#[from] wpclone_supervisor::SupervisorError),
    /// An HTTP request got no answer.
    #[error("no answer: {0:?}")]
    Http(#[from] reqwest::Error),
    /// The API returned an unexpected response.
    #[error("{what} answered {status}: {body}")]
    Answer {
        /// Method and path.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// Text that should be JSON of a certain shape.
    #[error("not the JSON that was wanted: {0}")]
    Json(#[from] serde_json::Error),
}

impl fmt::Debug for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What functions of the lab, and tests, return.
pub type Result<T = (), E = LabError> = std::result::Result<T, E>;
