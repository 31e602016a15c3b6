//! Whom programs run as.

use std::fs;
use std::path::Path;

use rustix::process::geteuid;

/// A user and group of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Where clones' users begin: ids that no range of Linux systems is for (systemd's `UIDS-GIDS` lists them), else, in
/// a container that has only 65,536, those of systemd's dynamic users.
const FIRST: [u32; 2] = [1_900_000_000, 61_200];

/// How many clones can have a user of their own.
pub(crate) const USERS: u32 = 3_000;

/// Whom things run as on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Users {
    /// Root: the database as `mysql`, clones as users of their own from `first` on.
    Own { mysql: Ids, first: u32 },
    /// All as the worker's user.
    Shared,
}

impl Users {
    /// What this process can do.
    pub(crate) fn find() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Ok(Self::Shared);
        }
        let read = |file| fs::read_to_string(file).map_err(|e| format!("{file} cannot be read: {e}"));
        let mysql = named(&read("/etc/passwd")?, "mysql").ok_or("there is no user `mysql`")?;
        let map = read("/proc/self/uid_map")?;
        let first = FIRST.into_iter().find(|first| is_mapped(&map, *first));
        Ok(Self::Own { mysql, first: first.ok_or("no user ids are free for clones")? })
    }

    /// The database server's.
    pub(crate) fn mysql(self) -> Option<Ids> {
        match self {
            Self::Own { mysql, .. } => Some(mysql),
            Self::Shared => None,
        }
    }

    /// That of the clone with this slot; its group has the same number.
    pub(crate) fn of_slot(self, slot: u32) -> Option<Ids> {
        match self {
            Self::Own { first, .. } => Some(Ids { uid: first + slot, gid: first + slot }),
            Self::Shared => None,
        }
    }
}

fn named(passwd: &str, name: &str) -> Option<Ids> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        Some(Ids { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    })
}

/// Whether all of a range's ids exist in this user namespace: user_namespaces(7).
fn is_mapped(map: &str, first: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
        let (Some(start), Some(_), Some(length)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        u64::from(first) >= start && u64::from(first) + u64::from(USERS) <= start + length
    })
}

/// Gives a folder or file to a user, without following a link; to nobody else when everything is ours.
pub(crate) fn give(path: &Path, to: Option<Ids>) -> std::io::Result<()> {
    to.map_or(Ok(()), |ids| std::os::unix::fs::lchown(path, Some(ids.uid), Some(ids.gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_only_taken_where_they_exist() {
        assert!(is_mapped("         0          0 4294967295", FIRST[0]));
        assert!(!is_mapped("0 100000 65536", FIRST[0]) && is_mapped("0 100000 65536", FIRST[1]));
        assert!(!is_mapped("0 1000 1", FIRST[1]) && !is_mapped("", FIRST[1]));
    }
}
