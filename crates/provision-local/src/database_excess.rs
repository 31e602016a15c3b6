//! Which connections take more of a database server than their clone may.

use std::collections::BTreeMap;

use crate::database_files::ServerFiles;
use crate::database_limits::DatabaseLimits;
use crate::database_sessions::{Session, Sessions};
use crate::disk_usage::schema_folder;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    Statement,
    Transaction,
    Memory,
    ServerMemory,
    OpenFiles,
    TemporaryTables,
    SortFiles,
    InnodbTemporary,
    Undo,
    AriaLog,
    OtherFiles,
}

impl Excess {
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Statement => "its statement took too long",
            Self::Transaction => "its transaction was open for too long",
            Self::Memory => "it used too much memory",
            Self::ServerMemory => "the server's memory was nearly full, and its clone had taken most",
            Self::OpenFiles => "too many files of its tables were open",
            Self::TemporaryTables => "its temporary tables were too large",
            Self::SortFiles => {
                "the files for sorting were too large, and its statement had run for the longest time"
            }
            Self::InnodbTemporary => "the temporary tables were too large, and it had changed most rows",
            Self::Undo => "the undo logs were too large, and it had the oldest or the largest transaction",
            Self::AriaLog => "Aria's log was too large, and its clone used a table of Aria",
            Self::OtherFiles => "files of no clone were too large, and it had written most",
        }
    }
}

/// The connections that exceed a limit, by their id.
pub(crate) fn excessive<'a>(
    limits: &DatabaseLimits,
    sessions: &'a Sessions,
    files: &ServerFiles,
    before: &ServerFiles,
) -> BTreeMap<u64, (&'a Session, Excess)> {
    let temporary = |s: &Session| files.temporary_tables.get(&s.id).copied().unwrap_or_default();
    let mut totals = BTreeMap::<&str, (u64, u64)>::new();
    for session in &sessions.all {
        let (memory, tables) = totals.entry(&session.user).or_default();
        *memory = memory.saturating_add(session.memory);
        *tables = tables.saturating_add(temporary(session));
    }
    let open_files = |s: &Session| files.open_files.get(&schema_folder(&s.user)).copied().unwrap_or_default();
    let mut found = BTreeMap::new();
    for session in &sessions.all {
        let (memory, tables) = totals.get(session.user.as_str()).copied().unwrap_or_default();
        let excess = [
            (session.statement.is_some_and(|time| time > limits.statement), Excess::Statement),
            (session.transaction.is_some_and(|t| t.age > limits.transaction), Excess::Transaction),
            (memory > limits.memory, Excess::Memory),
            (tables > limits.temporary_tables, Excess::TemporaryTables),
            (open_files(session) > limits.open_files, Excess::OpenFiles),
        ];
        if let Some((_, excess)) = excess.into_iter().find(|(is_exceeded, _)| *is_exceeded) {
            found.insert(session.id, (session, excess));
        }
    }
    for (session, excess) in likely_culprits(limits, sessions, files, before) {
        found.entry(session.id).or_insert((session, excess));
    }
    found
}

/// Nothing says which clone these bytes belong to. The most likely connections are closed, and the next ones after a second.
fn likely_culprits<'a>(
    limits: &DatabaseLimits,
    sessions: &'a Sessions,
    files: &ServerFiles,
    before: &ServerFiles,
) -> Vec<(&'a Session, Excess)> {
    let longest = sessions.all.iter().filter(|s| s.statement.is_some()).max_by_key(|s| s.statement);
    let transactions = || sessions.all.iter().filter(|s| s.transaction.is_some());
    let oldest = transactions().max_by_key(|s| s.transaction.map(|t| t.age));
    let largest = transactions().max_by_key(|s| s.transaction.map(|t| t.rows_modified));
    let has_grown = |now: u64, before: u64, limit: u64| now > limit && now > before;
    let is_temporary = has_grown(files.innodb_temporary, before.innodb_temporary, limits.innodb_temporary);
    let is_undo = has_grown(files.undo, before.undo, limits.undo);
    [
        (files.sort_files > limits.sort_files, longest, Excess::SortFiles),
        (is_temporary, largest, Excess::InnodbTemporary),
        (is_undo, oldest, Excess::Undo),
        (is_undo, largest, Excess::Undo),
    ]
    .into_iter()
    .filter_map(|(is_exceeded, session, excess)| session.filter(|_| is_exceeded).map(|s| (s, excess)))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::database_sessions::Transaction;

    const LIMITS: DatabaseLimits = DatabaseLimits {
        statement: Duration::from_secs(10),
        transaction: Duration::from_secs(20),
        memory: 100,
        server_memory: 320,
        open_files: 100,
        temporary_tables: 100,
        sort_files: 100,
        innodb_temporary: 100,
        undo: 100,
        aria_log: 100,
        others: 100,
    };

    fn session(id: u64, user: &str, statement: Option<u64>, transaction: Option<(u64, u64)>) -> Session {
        let transaction = transaction
            .map(|(age, rows_modified)| Transaction { age: Duration::from_secs(age), rows_modified });
        let statement = statement.map(Duration::from_secs);
        Session { id, user: user.into(), statement, memory: 30, thread: 0, transaction }
    }

    fn closed(sessions: &Sessions, files: &ServerFiles, before: &ServerFiles) -> Vec<(u64, Excess)> {
        let found = excessive(&LIMITS, sessions, files, before);
        found.into_iter().map(|(id, (_, excess))| (id, excess)).collect()
    }

    #[test]
    fn connections_are_closed_for_what_their_clone_exceeds_and_no_others() {
        let all = vec![
            session(1, "good", Some(9), Some((19, 5))),
            session(2, "slow", Some(11), None),
            session(3, "slow", None, Some((21, 0))),
            session(4, "tables", Some(1), None),
            session(5, "tables", None, None),
            session(6, "memory", None, None),
            Session { memory: 80, ..session(7, "memory", None, None) },
            session(8, "clone-files", None, None),
        ];
        let sessions = Sessions { all };
        let files = ServerFiles {
            temporary_tables: [(1, 100), (4, 60), (5, 60)].into(),
            open_files: [("good".into(), 100), ("clone@002dfiles".into(), 101)].into(),
            sort_files: 100,
            innodb_temporary: 100,
            undo: 100,
            ..ServerFiles::default()
        };
        let expected = [
            (2, Excess::Statement),
            (3, Excess::Transaction),
            (4, Excess::TemporaryTables),
            (5, Excess::TemporaryTables),
            (6, Excess::Memory),
            (7, Excess::Memory),
            (8, Excess::OpenFiles),
        ];
        assert_eq!(closed(&sessions, &files, &ServerFiles::default()), expected);
    }

    #[test]
    fn when_files_of_all_clones_grow_too_large_the_most_likely_connections_are_closed() {
        let all = vec![
            session(1, "a", Some(3), None),
            session(2, "b", Some(5), Some((2, 900))),
            session(3, "c", None, Some((9, 1))),
        ];
        let sessions = Sessions { all };
        let large = |change: fn(&mut ServerFiles)| {
            let mut files = ServerFiles::default();
            change(&mut files);
            files
        };
        for (files, expected) in [
            (large(|files| files.sort_files = 101), vec![(2, Excess::SortFiles)]),
            (large(|files| files.innodb_temporary = 101), vec![(2, Excess::InnodbTemporary)]),
            (large(|files| files.undo = 101), vec![(2, Excess::Undo), (3, Excess::Undo)]),
        ] {
            assert_eq!(closed(&sessions, &files, &ServerFiles::default()), expected);
            // Files that never shrink are no reason when they do not grow either.
            let lasting = if files.sort_files > 0 { expected } else { Vec::new() };
            assert_eq!(closed(&sessions, &files, &files), lasting);
        }
    }
}
