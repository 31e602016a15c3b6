//! The system users that programs run as.

use std::path::Path;

use rustix::process::geteuid;
use wpclone_supervisor::UserRange;

/// A system user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Ids {
    /// Us, with this user's group.
    pub(crate) fn readable_by_group(self) -> Self {
        Self { uid: geteuid().as_raw(), gid: self.gid }
    }
}

/// How many clones can have a user of their own. Slot 0 is the template's.
pub(crate) const SLOTS: u32 = 2_000;
/// The users of clones, and then those of their database servers.
const CLONE_USERS: UserRange = UserRange { first: 1_900_000_000, first_of_16_bit: 61_200, length: 2 * SLOTS };

/// The users on this machine. None of them is in /etc/passwd.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Users {
    /// We are root: each clone and each database server runs as a user of its own, from `first` on.
    PerClone { first: u32 },
    /// Everything runs as the worker's user.
    Shared,
}

impl Users {
    /// The users that this process can start programs as.
    pub(crate) fn find() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Ok(Self::Shared);
        }
        let first = CLONE_USERS.first_usable().map_err(|e| format!("the user ids cannot be read: {e}"))?;
        Ok(Self::PerClone { first: first.ok_or("no user ids are free for clones")? })
    }

    /// Whether programs run as other users.
    pub(crate) fn are_separate(self) -> bool {
        matches!(self, Self::PerClone { .. })
    }

    /// The user of the clone with this slot; its group has the same id.
    pub(crate) fn of_slot(self, slot: u32) -> Option<Ids> {
        match self {
            Self::PerClone { first } => Some(Ids { uid: first + slot, gid: first + slot }),
            Self::Shared => None,
        }
    }

    /// The user of the database server of the clone with this slot; that of slot 0 runs the shared server.
    pub(crate) fn of_database(self, slot: u32) -> Option<Ids> {
        self.of_slot(SLOTS + slot)
    }

    /// The slot whose user this is.
    pub(crate) fn slot_of(self, uid: u32) -> Option<u32> {
        match self {
            Self::PerClone { first } => uid.checked_sub(first).filter(|slot| *slot < SLOTS),
            Self::Shared => None,
        }
    }
}

/// The user id of a program that runs as this user, or as ours.
pub(crate) fn uid_of(user: Option<Ids>) -> u32 {
    user.map_or_else(|| geteuid().as_raw(), |ids| ids.uid)
}

/// Changes the owner of a file or folder without following a link; nothing is changed without a user.
pub(crate) fn chown(path: &Path, user: Option<Ids>) -> std::io::Result<()> {
    user.map_or(Ok(()), |ids| std::os::unix::fs::lchown(path, Some(ids.uid), Some(ids.gid)))
}
