//! The limit of open files, and the connections that it permits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that is enough. Programs that close every possible descriptor at their start inherit it, so it is not the
/// highest possible one.
const ENOUGH_OPEN_FILES: u64 = 1 << 16;
/// The connection limit is never lower than this.
const MIN_CONNECTIONS: u64 = 64;

/// Raises the soft limit of open files towards the hard one, as any process may. Returns the limit that holds then;
/// `None`: there is none.
pub fn raise_open_files_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current?;
    let wanted = limit.maximum.map_or(ENOUGH_OPEN_FILES, |hard| hard.min(ENOUGH_OPEN_FILES));
    if wanted <= soft {
        return Some(soft);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => Some(wanted),
        Err(_) => Some(soft),
    }
}

/// How many connections the process's limit of open files permits: `reserved` files are for everything else, each
/// connection takes `files_per_connection`, and there are at most `most`.
#[must_use]
pub fn connections_within_open_files(reserved: u64, files_per_connection: u64, most: u64) -> usize {
    within(getrlimit(Resource::Nofile).current, reserved, files_per_connection, most)
}

fn within(files: Option<u64>, reserved: u64, files_per_connection: u64, most: u64) -> usize {
    let connections = files.map_or(most, |n| n.saturating_sub(reserved) / files_per_connection.max(1));
    usize::try_from(connections.min(most).max(MIN_CONNECTIONS)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_descriptors_are_reserved_for_other_uses() {
        for (files, connections) in
            [(Some(1024), 768), (Some(100), 64), (Some(1 << 20), 2048), (Some(0), 64), (None, 2048)]
        {
            assert_eq!(within(files, 256, 1, 2048), connections, "{files:?}");
        }
        assert_eq!(within(Some(1024), 512, 2, 1024), 256, "each connection has a second file");
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_open_files_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(raised, limit.current);
        assert!(
            raised.is_none_or(|n| n >= ENOUGH_OPEN_FILES) || limit.current == limit.maximum,
            "{raised:?}"
        );
    }
}
