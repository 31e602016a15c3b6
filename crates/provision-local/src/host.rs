//! What clones run on: the state folder, the programs and users of the machine.

use std::sync::Arc;

use jiff::Timestamp;
use wpclone_provision::{Addresses, ProvisionError};

use crate::binaries::Binaries;
use crate::blocking::run_blocking;
use crate::disk_pressure::{Scarce, scarce_for_new};
use crate::disk_usage::FreeSpace;
use crate::error::failed;
use crate::launcher::Launcher;
use crate::options::{Clock, DiskLimits};
use crate::state_dir::{StateDir, StateLock};
use crate::users::{Ids, Users};

/// What clones run on.
pub(crate) struct Host {
    pub(crate) state_dir: StateDir,
    pub(crate) lock: Arc<StateLock>,
    pub(crate) users: Users,
    pub(crate) binaries: Binaries,
    pub(crate) launcher: Launcher,
    pub(crate) addresses: Addresses,
    pub(crate) disk: DiskLimits,
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

    /// Checks that this many bytes fit on the disk beside what has to be free for something new.
    pub(crate) async fn check_free_space(&self, bytes: u64) -> Result<(), ProvisionError> {
        let root = self.state_dir.root().to_owned();
        let free = run_blocking(move || FreeSpace::of(&root)).await;
        let free = free.map_err(failed("the free space of the disk cannot be determined"))?;
        if scarce_for_new(free, self.disk) == Some(Scarce::Files) {
            return Err(ProvisionError::Unavailable("the disk has nearly no inodes left".into()));
        }
        enough_space(bytes, free.bytes, self.disk)
    }
}

fn enough_space(bytes: u64, free: u64, disk: DiskLimits) -> Result<(), ProvisionError> {
    let needed = bytes.saturating_add(disk.free_for_new());
    if free < needed { Err(ProvisionError::InsufficientDisk { needed, free }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_leaves_the_disk_its_reserve() {
        let disk = DiskLimits::default();
        let reserve = 2 * disk.reserve_bytes;
        assert!(enough_space(10, reserve + 10, disk).is_ok());
        for (bytes, free) in [(10, reserve + 9), (u64::MAX / 2, u64::MAX / 4), (u64::MAX, 0)] {
            let refused = enough_space(bytes, free, disk).unwrap_err();
            assert!(matches!(refused, ProvisionError::InsufficientDisk { .. }), "{refused}");
        }
    }
}
