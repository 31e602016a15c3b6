//! User ids for programs that root starts as users of their own.

use std::fs;
use std::io;

/// A range of user ids that belong to no user of the system. Each has a group of the same id.
#[derive(Debug, Clone, Copy)]
pub struct UserRange {
    /// The first id where all ids exist: Linux systems do not use these (systemd's `UIDS-GIDS` lists those in use).
    pub first: u32,
    /// The first id in a container with only 65,536 ids: within the range of systemd's dynamic users.
    pub first_of_16_bit: u32,
    /// How many ids there are.
    pub length: u32,
}

/// The users of browsers. The 4,000 from 1,900,000,000, or from 61,200, on are those of clones.
pub const BROWSER_USERS: UserRange = UserRange { first: 1_900_100_000, first_of_16_bit: 65_200, length: 256 };

impl UserRange {
    /// The first of the ids that this process can use; `None` when it can use neither range.
    ///
    /// # Errors
    /// `/proc/self/uid_map` cannot be read.
    pub fn first_usable(&self) -> io::Result<Option<u32>> {
        let map = fs::read_to_string("/proc/self/uid_map")?;
        Ok([self.first, self.first_of_16_bit].into_iter().find(|first| is_mapped(&map, *first, self.length)))
    }
}

/// Whether all ids of a range exist in this user namespace: user_namespaces(7).
fn is_mapped(map: &str, first: u32, length: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
        let (Some(start), Some(_), Some(mapped)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        u64::from(first) >= start && u64::from(first) + u64::from(length) <= start + mapped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_only_used_where_they_exist() {
        let UserRange { first, first_of_16_bit, length } = BROWSER_USERS;
        assert!(is_mapped("         0          0 4294967295", first, length));
        assert!(!is_mapped("0 100000 65536", first, length));
        assert!(is_mapped("0 100000 65536", first_of_16_bit, length));
        assert!(!is_mapped("0 1000 1", first_of_16_bit, length) && !is_mapped("", first_of_16_bit, length));
    }
}
