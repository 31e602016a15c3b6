//! Closes the connections of clones that take more of a database server than they may, and has clones stopped that fill its
//! memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::blocking::run_blocking;
use crate::database_admin::DatabaseAdmin;
use crate::database_config::ServerPaths;
use crate::database_files::{ServerFiles, server_process};
use crate::database_limits::DatabaseLimits;
use crate::database_memory::{MemoryUse, ProcessMemory, resident};
use crate::database_offenders::OffenderSender;
use crate::database_sessions::{Session, Sessions};
use crate::disk_usage::{FreeSpace, schema_folder};

/// How often a server is looked at, and how often its process is, which tells whether that is needed at once.
const INTERVAL: Duration = Duration::from_secs(1);
const QUICK_INTERVAL: Duration = Duration::from_millis(100);
/// The part of its limit by which a server's memory has to grow until it is looked at at once, or something is done again.
const GROWTH_PART: u64 = 32;
/// The same of open files.
const FILES_GROWTH_PART: u64 = 4;
/// How many times its reserve has to be free on a disk that is not scarce. It is more than the free space at which clones are
/// stopped: these files belong to none of them.
const SCARCE_RESERVES: u64 = 4;
/// The part of a server's limit that a clone takes at least that its memory was taken for.
const CULPRIT_PART: u64 = 8;

/// A server that runs.
#[derive(Debug, Clone)]
pub(crate) struct WatchedServer {
    pub(crate) admin: DatabaseAdmin,
    pub(crate) paths: ServerPaths,
    pub(crate) limits: DatabaseLimits,
    /// Bytes of the disk that clones leave free.
    pub(crate) disk_reserve: u64,
    pub(crate) offenders: OffenderSender,
}

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
}

impl Excess {
    fn description(self) -> &'static str {
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
        }
    }
}

/// Watches a server until this is dropped.
pub(crate) async fn watch(server: WatchedServer) -> AbortOnDropHandle<()> {
    let process = server_process(server.admin.socket()).await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(QUICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = DatabaseWatch::new(server, process);
        loop {
            ticks.tick().await;
            watch.check_process().await;
        }
    }))
}

/// What of a server's memory is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemoryLine {
    /// Connections are closed.
    Close,
    /// A clone is stopped.
    Stop,
}

/// Watches a server.
struct DatabaseWatch {
    server: WatchedServer,
    process: Option<i32>,
    checked_at: Option<Instant>,
    /// What the process took then.
    checked: ProcessUse,
    files: ServerFiles,
    memory: MemoryUse,
    /// Bytes that the server took when something was done last, since they were below the limit.
    acted_at: Option<u64>,
}

impl DatabaseWatch {
    fn new(server: WatchedServer, process: Option<i32>) -> Self {
        Self {
            server,
            process,
            checked_at: None,
            checked: ProcessUse::default(),
            files: ServerFiles::default(),
            memory: MemoryUse::default(),
            acted_at: None,
        }
    }

    /// Checks the process, and the server when that is due, or the process takes much.
    async fn check_process(&mut self) {
        let (process, limits) = (self.process, self.server.limits);
        let now = run_blocking(move || Ok(process.map(ProcessUse::read).unwrap_or_default())).await;
        let (now, before) = (now.unwrap_or_default(), self.checked);
        let is_full = now.resident > limits.server_memory / 2;
        if !is_full {
            self.memory = MemoryUse::default();
        }
        let is_urgent = is_full && now.resident > before.resident + limits.server_memory / GROWTH_PART
            || now.open_files
                > (before.open_files + limits.open_files / FILES_GROWTH_PART).max(limits.open_files);
        if is_urgent || self.checked_at.is_none_or(|at| at.elapsed() >= INTERVAL) {
            (self.checked_at, self.checked) = (Some(Instant::now()), now);
            self.check(is_full).await;
        }
    }

    /// Closes connections that take too much.
    async fn check(&mut self, is_full: bool) {
        let (server, process) = (&self.server, self.process);
        let paths = server.paths.clone();
        let scarce_below = server.disk_reserve.saturating_mul(SCARCE_RESERVES);
        let measure = move || {
            let is_scarce = FreeSpace::of(&paths.data()).is_ok_and(|free| free.bytes < scarce_below);
            Ok((ServerFiles::measure(&paths, process), is_scarce))
        };
        let (files, is_scarce) = run_blocking(measure).await.unwrap_or_default();
        let before = std::mem::replace(&mut self.files, files);
        let limits = if is_scarce { server.limits.while_disk_is_scarce() } else { server.limits };
        // A server that does not answer is restarted by others.
        let Ok(sessions) = server.admin.sessions().await else { return };
        let mut excessive = excessive(&limits, &sessions, &self.files, &before);
        if is_full && let Some(process) = process {
            let memory = run_blocking(move || Ok(ProcessMemory::read(process))).await.unwrap_or_default();
            let resident = memory.resident;
            self.memory.observe(memory, &sessions.all);
            if let Some(clone) = self.fills_memory(resident).await {
                let own = sessions.all.iter().filter(|session| session.user == clone);
                excessive.extend(own.map(|session| (session.id, (session, Excess::ServerMemory))));
            }
        }
        for (session, excess) in excessive.values() {
            let why = excess.description();
            tracing::warn!(clone = %session.user, why, "a database connection of a clone is closed");
        }
        self.server.admin.kill(excessive.into_keys()).await;
        self.server.admin.roll_back_prepared(&sessions.prepared).await;
    }

    /// The clone that takes most of the server's memory, when that is nearly full and still grows. Reports it when it is to be
    /// stopped.
    async fn fills_memory(&mut self, resident: u64) -> Option<String> {
        let limit = self.server.limits.server_memory;
        let line = memory_line(limit, resident, &mut self.acted_at)?;
        let tables = self.server.admin.memory_tables().await.unwrap_or_default();
        let most = self.memory.most(&tables).filter(|(_, bytes)| *bytes >= limit / CULPRIT_PART);
        let Some((clone, bytes)) = most else {
            tracing::error!(
                resident,
                "the memory of a database server is nearly full, and no clone takes most of it"
            );
            return None;
        };
        tracing::warn!(clone, bytes, resident, "a clone fills the memory of its database server");
        if line == MemoryLine::Stop && self.server.offenders.try_send(clone.clone()).is_ok() {
            self.memory.forget(&clone);
        }
        Some(clone)
    }
}

/// The line that a server's memory exceeds, when it has grown enough since something was done.
fn memory_line(limit: u64, resident: u64, acted_at: &mut Option<u64>) -> Option<MemoryLine> {
    if resident <= limit {
        *acted_at = None;
        return None;
    }
    let line = if resident > limit + limit / 2 { MemoryLine::Stop } else { MemoryLine::Close };
    let has_grown = acted_at.is_none_or(|before| resident >= before + limit / GROWTH_PART);
    has_grown.then(|| {
        *acted_at = Some(resident);
        line
    })
}

/// What a server's process takes, as far as it can be read quickly.
#[derive(Debug, Default, Clone, Copy)]
struct ProcessUse {
    /// Bytes of memory.
    resident: u64,
    /// Open files; zero where the kernel does not tell.
    open_files: u64,
}

impl ProcessUse {
    fn read(process: i32) -> Self {
        let open_files = fs::metadata(format!("/proc/{process}/fd")).map_or(0, |folder| folder.len());
        Self { resident: resident(process), open_files }
    }
}

/// The connections that exceed a limit, by their id.
fn excessive<'a>(
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
        let sessions = Sessions { all, prepared: Vec::new() };
        let files = ServerFiles {
            temporary_tables: [(1, 100), (4, 60), (5, 60)].into(),
            open_files: [("good".into(), 100), ("clone@002dfiles".into(), 101)].into(),
            sort_files: 100,
            innodb_temporary: 100,
            undo: 100,
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
        let sessions = Sessions { all, prepared: Vec::new() };
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

    #[test]
    fn something_is_done_whenever_full_memory_has_grown_by_a_part() {
        let mut acted_at = None;
        let lines: Vec<_> = [320, 321, 325, 330, 331, 481, 490, 491, 300, 321]
            .map(|r| memory_line(320, r, &mut acted_at))
            .into();
        let (close, stop) = (Some(MemoryLine::Close), Some(MemoryLine::Stop));
        assert_eq!(lines, [None, close, None, None, close, stop, None, stop, None, close]);
    }
}
