#![doc = include_str!("../README.md")]

mod bubblewrap;
mod cgroup;
mod folder;
mod processes;
mod spec;
mod supervised;
mod supervisor;
mod user_ids;

pub use bubblewrap::{is_in_system_folder, system_folder_args};
pub use cgroup::{Cgroup, remove_cgroup};
pub use folder::{Swept, sweep, unique_folder};
pub use processes::{
    ProcessTable, StorageUse, descendants, has_processes_of, kill_descendants, kill_processes_of,
    resident_memory,
};
pub use spec::{Confinement, FIRST_INHERITED_FD, ProcessSpec};
pub use supervised::{Supervised, SupervisorError, adopt_orphans};
pub use supervisor::run_if_supervisor;
pub use user_ids::{BROWSER_USERS, UserRange};
