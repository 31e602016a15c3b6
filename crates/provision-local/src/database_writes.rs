//! Which connections of a database server write to its files.

use std::collections::BTreeMap;

use crate::database_memory::read_of_threads;
use crate::database_sessions::Session;

/// How much the threads of a server's process have written to files.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ThreadWrites {
    /// Bytes, by the thread's id in the server's PID namespace.
    written: BTreeMap<u32, u64>,
}

impl ThreadWrites {
    /// Reads it from proc(5). Of a process that has ended nothing is left.
    pub(crate) fn read(process: i32) -> Self {
        Self { written: read_of_threads(process, "io", written) }
    }

    /// The connection that has written most since another reading. A thread that was not there then has written nothing yet:
    /// it may have served others.
    pub(crate) fn largest_writer<'a>(&self, before: &Self, sessions: &'a [Session]) -> Option<&'a Session> {
        let since = |session: &Session| {
            let before = before.written.get(&session.thread)?;
            Some(self.written.get(&session.thread)?.saturating_sub(*before))
        };
        let writers = sessions.iter().filter_map(|session| Some((since(session)?, session)));
        writers.filter(|(bytes, _)| *bytes > 0).max_by_key(|(bytes, _)| *bytes).map(|(_, session)| session)
    }
}

/// The bytes that a thread has passed to write(2) and the like, from its `io`.
fn written(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("wchar:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn session(id: u64, thread: u32) -> Session {
        let user = "clone".into();
        Session { id, user, statement: None, memory: 0, thread, transaction: None }
    }

    fn writes(written: &[(u32, u64)]) -> ThreadWrites {
        ThreadWrites { written: written.iter().copied().collect() }
    }

    #[test]
    fn the_connection_is_found_whose_thread_has_written_most_meanwhile() {
        let sessions = [session(1, 11), session(2, 12), session(3, 13), session(4, 14)];
        let before = writes(&[(11, 9_000), (12, 10), (13, 10), (99, 0)]);
        let now = writes(&[(11, 9_100), (12, 160), (13, 20), (14, 99_999), (99, 99_999)]);
        let largest = |before, now: &ThreadWrites| now.largest_writer(before, &sessions).map(|s| s.id);
        assert_eq!(largest(&before, &now), Some(2));
        assert_eq!(largest(&now, &now), None);
        assert_eq!(largest(&ThreadWrites::default(), &now), None);
    }

    #[test]
    fn what_a_thread_writes_is_read() {
        let own = || ThreadWrites::read(std::process::id().cast_signed()).written.values().sum::<u64>();
        let before = own();
        tempfile::tempfile().unwrap().write_all(&[0; 1 << 20]).unwrap();
        assert!(own() >= before + (1 << 20));
    }
}
