//! What clones run on: the state folder, the programs and users of the machine.

use std::sync::Arc;

use jiff::Timestamp;
use wpclone_provision::{Addresses, ProvisionError};

use crate::binaries::Binaries;
use crate::blocking::run_blocking;
use crate::error::failed;
use crate::files::free_space;
use crate::launcher::Launcher;
use crate::options::Clock;
use crate::state_dir::{DISK_RESERVE, StateDir, StateLock};
use crate::users::{Ids, Users};

/// What clones run on.
pub(crate) struct Host {
    pub(crate) state_dir: StateDir,
    pub(crate) lock: Arc<StateLock>,
    pub(crate) users: Users,
    pub(crate) binaries: Binaries,
    pub(crate) launcher: Launcher,
    pub(crate) addresses: Addresses,
    pub(crate) clock: Clock,
}

impl Host {
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The user that the template is installed as.
    pub(crate) fn template_user(&self) -> Option<Ids> {
        self.users.of_slot(0)
    }

    /// Checks that this many bytes fit on the disk, with its reserve.
    pub(crate) async fn check_free_space(&self, bytes: u64) -> Result<(), ProvisionError> {
        let root = self.state_dir.root().to_owned();
        let free = run_blocking(move || free_space(&root)).await;
        enough_space(bytes, free.map_err(failed("the free space of the disk cannot be determined"))?)
    }
}

fn enough_space(bytes: u64, free: u64) -> Result<(), ProvisionError> {
    let needed = bytes.saturating_add(DISK_RESERVE);
    if free < needed { Err(ProvisionError::InsufficientDisk { needed, free }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_leaves_the_disk_its_reserve() {
        assert!(enough_space(10, DISK_RESERVE + 10).is_ok());
        for (bytes, free) in [(10, DISK_RESERVE + 9), (u64::MAX / 2, u64::MAX / 4), (u64::MAX, 0)] {
            let refused = enough_space(bytes, free).unwrap_err();
            assert!(matches!(refused, ProvisionError::InsufficientDisk { .. }), "{refused}");
        }
    }
}
