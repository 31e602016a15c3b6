//! Which of the clones' system users a new clone gets.
//!
//! Users are given out in turn from a random one on, and the last one is stored: a user is given out again only after all
//! others, some 2,000 clones later, and only when nothing of its previous clone is left.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::write_atomically;
use crate::random::random_below;
use crate::state_dir::StateLock;
use crate::users::{SLOTS, Users};

/// Gives out slots.
#[derive(Debug)]
pub(crate) struct SlotAllocator {
    /// Holds the slot that was given out last, in decimal digits.
    file: PathBuf,
    users: Users,
    lock: Arc<StateLock>,
}

impl SlotAllocator {
    pub(crate) fn new(file: PathBuf, users: Users, lock: Arc<StateLock>) -> Self {
        Self { file, users, lock }
    }

    /// The next slot that is not in `in_use` and whose users have no process; `None` when there is none. Calls must not
    /// overlap.
    pub(crate) async fn allocate(&self, in_use: BTreeSet<u32>) -> io::Result<Option<u32>> {
        let (file, users) = (self.file.clone(), self.users);
        let work = move || {
            let busy = uids_of_processes(users)?;
            let is_free = |slot: &u32| {
                let mut users = [users.of_slot(*slot), users.of_database(*slot)].into_iter().flatten();
                !in_use.contains(slot) && !users.any(|ids| busy.contains(&ids.uid))
            };
            // Another state folder on this machine hardly begins at the same one.
            let last = last(&file)?.map_or_else(|| random_below(SLOTS), Ok)?;
            let slot = following(last).find(is_free);
            if let Some(slot) = slot {
                // Before it is used: whatever happens next, it is not given out again soon.
                write_atomically(&file, format!("{slot}\n").as_bytes(), 0o600)?;
            }
            Ok(slot)
        };
        self.lock.run_blocking(work).await
    }
}

/// All slots but the template's, beginning after `last`.
fn following(last: u32) -> impl Iterator<Item = u32> {
    (0..SLOTS - 1).map(move |n| 1 + (last + n) % (SLOTS - 1))
}

/// The slot that was given out last, if one was.
fn last(file: &Path) -> io::Result<Option<u32>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let invalid = || {
        let message = format!("{} does not hold the number of a system user", file.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    text.trim().parse().ok().filter(|slot| *slot < SLOTS).map(Some).ok_or_else(invalid)
}

/// The real, effective, saved and file system user ids of all processes; nothing without users of their own for clones.
fn uids_of_processes(users: Users) -> io::Result<BTreeSet<u32>> {
    let mut uids = BTreeSet::new();
    if users.of_slot(0).is_none() {
        return Ok(uids);
    }
    for process in fs::read_dir("/proc")? {
        // A process may end meanwhile.
        let status = fs::read_to_string(process?.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uids.extend(line.into_iter().flat_map(str::split_whitespace).filter_map(|id| id.parse::<u32>().ok()));
    }
    Ok(uids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_out_in_turn_and_the_templates_never() {
        assert_eq!(following(0).take(3).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(following(SLOTS - 2).take(3).collect::<Vec<_>>(), [SLOTS - 1, 1, 2]);
        let all: BTreeSet<u32> = following(17).collect();
        assert_eq!(all, (1..SLOTS).collect());
    }

    #[test]
    fn a_file_that_holds_no_slot_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("last-slot");
        assert_eq!(last(&file).unwrap(), None);
        for (text, expected) in [("17\n", Some(Some(17))), ("", None), ("-1", None), ("3000", None)] {
            fs::write(&file, text).unwrap();
            assert_eq!(last(&file).ok(), expected, "{text:?}");
        }
    }
}
