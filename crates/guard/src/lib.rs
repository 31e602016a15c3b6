#![doc = include_str!("../README.md")]

mod folder;
mod owner;
mod process;
mod warden;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use folder::{sweep, unique_folder};
pub use owner::{GuardError, Guarded, adopt_orphans};
pub use process::resident_memory;
pub use warden::run_if_guard;

/// The word on the command line that makes a program the guard of another.
pub(crate) const WORD: &str = "guard";

/// What a guard is to own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, instead of the owner's: pass on what it needs.
    pub env: Vec<(String, String)>,
    /// Its working folder, made by the guard and removed with everything in it at the end. It is also TMPDIR. A
    /// lock file of the same name with `.lock` lies beside it while the guard lives.
    pub folder: PathBuf,
    /// How long the program has to end by itself after a SIGTERM; zero: SIGKILL at once.
    pub grace: Duration,
    /// The user and group to run it as; the owner's where absent.
    pub run_as: Option<(u32, u32)>,
}
