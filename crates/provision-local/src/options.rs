//! The options of the local provisioner.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use wpclone_beneath::Usage;
use wpclone_clone_proxy::ProxyOptions;
use wpclone_provision::{Addresses, MachineLocation};

use crate::database_limits::DatabaseLimits;

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
    /// The most clones at once. One of several owners gets three quarters of them at most.
    pub max_clones: usize,
    /// Whether clones may run without a sandbox where the machine allows none: a clone is then separated from the machine by
    /// its user and by PHP's own settings at most.
    pub unsafe_no_sandbox: bool,
    /// The proxy in front of clones.
    pub proxy: ProxyOptions,
    /// The program that becomes the supervisor of ours: one that calls `wpclone_supervisor::run_if_supervisor` first of all, such
    /// as `/proc/self/exe` where this program does.
    pub supervisor: PathBuf,
    /// What clones may take of the disk.
    pub disk: DiskLimits,
    /// What clones may take of a database server.
    pub database: DatabaseLimits,
    /// What is shown of where clones run.
    pub location: MachineLocation,
    /// The current time.
    pub clock: Clock,
}

/// What clones may take of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    /// The most bytes of one clone: its files, its logs and its tables.
    pub clone_bytes: u64,
    /// The most files of one clone, folders included.
    pub clone_files: u64,
    /// Bytes of the disk that clones leave free.
    pub reserve_bytes: u64,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self { clone_bytes: 20 << 30, clone_files: 2_000_000, reserve_bytes: 1 << 30 }
    }
}

impl DiskLimits {
    pub(crate) fn clone_limit(self) -> Usage {
        Usage { bytes: self.clone_bytes, files: self.clone_files }
    }

    /// The bytes that must be free when something is created: clones are stopped before they use more than half of this.
    pub(crate) fn free_for_new(self) -> u64 {
        self.reserve_bytes.saturating_mul(2)
    }
}
