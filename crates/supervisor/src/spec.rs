//! What a supervisor gets from its owner.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The argument that makes a program the supervisor of another.
pub(crate) const ARGUMENT: &str = "supervise";

/// A program to be supervised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment; nothing of the owner's is inherited.
    pub env: Vec<(String, String)>,
    /// Its working folder and TMPDIR. The supervisor creates it and at the end removes it with everything in it. A lock
    /// file with the same name and `.lock` exists beside it while the supervisor runs.
    pub folder: PathBuf,
    /// Time between SIGTERM and SIGKILL; zero: SIGKILL at once.
    pub grace: Duration,
    /// The user and group to run it as; the owner's if absent.
    pub run_as: Option<(u32, u32)>,
}
