#![doc = include_str!("../README.md")]

mod bubblewrap;
mod cgroup;
mod folder;
mod processes;
mod spec;
mod storage_use;
mod supervised;
mod supervisor;
mod user_ids;

pub use bubblewrap::{is_in_system_folder, system_folder_args};
pub use cgroup::{Cgroup, remove_cgroup};
pub use folder::{Swept, creator_of, sweep, unique_folder};
pub use processes::{descendants, has_processes_of, kill_descendants, kill_processes_of, resident_memory};
pub use spec::{Confinement, FIRST_INHERITED_FD, ProcessSpec};
pub use storage_use::{ProcessTable, StorageUse};
pub use supervised::{Supervised, SupervisorError, adopt_orphans};
pub use supervisor::run_if_supervisor;
pub use user_ids::{BROWSER_USERS, UserRange};
