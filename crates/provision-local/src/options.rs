//! The options of the local provisioner.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use wpclone_provision::Addresses;

/// Returns the current time. Tests bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How local clones are made.
#[derive(Clone)]
pub struct LocalOptions {
    /// The folder of everything that outlives the process. One process at a time uses it.
    pub state_dir: PathBuf,
    /// The pristine WordPress that clones start from.
    pub wordpress_dir: PathBuf,
    /// The addresses of clones, and where the proxy listens.
    pub addresses: Addresses,
    /// The most clones at once.
    pub max_clones: usize,
    /// Whether clones may run without a sandbox where the machine allows none: a clone is then separated from the machine by
    /// its user and by PHP's own settings at most.
    pub unsafe_no_sandbox: bool,
    /// The program that becomes the supervisor of ours: one that calls `wpclone_supervisor::run_if_supervisor` first of all, such
    /// as `/proc/self/exe` where this program does.
    pub supervisor: PathBuf,
    /// The current time.
    pub clock: Clock,
}
