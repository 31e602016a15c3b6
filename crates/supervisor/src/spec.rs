//! What a supervisor gets from its owner.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;

/// The argument that makes a program the supervisor of another.
pub(crate) const ARGUMENT: &str = "supervise";

/// The file descriptor of the first of [`Confinement::inherited_files`]; the others follow it.
pub const FIRST_INHERITED_FD: i32 = 64;

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
    /// What confines it; nothing by default.
    pub confinement: Confinement,
}

/// What confines a program beyond its user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether the program is bubblewrap, with a PID namespace of its own and with [`ProcessSpec::folder`] among its mounts.
    /// SIGTERM goes to what runs in the sandbox. Orphans are recognized by that mount instead of by an open file.
    pub is_bubblewrap: bool,
    /// Files that the program inherits, open for reading, from [`FIRST_INHERITED_FD`] on.
    pub inherited_files: Vec<PathBuf>,
    /// Whether it gets no huge pages from the kernel, so that the page faults of its threads tell how much memory they take.
    pub without_huge_pages: bool,
    /// The control groups that it runs in.
    pub cgroups: Vec<Cgroup>,
}
