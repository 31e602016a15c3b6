//! Closes the connections of clones that take more of a database server than they may, and has clones stopped that fill its
//! memory.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::blocking::run_blocking;
use crate::database_admin::DatabaseAdmin;
use crate::database_config::ServerPaths;
use crate::database_excess::{Excess, excessive};
use crate::database_files::{ServerFiles, server_process};
use crate::database_limits::DatabaseLimits;
use crate::database_memory::{MemoryUse, ProcessMemory, resident};
use crate::database_offenders::OffenderSender;
use crate::database_sessions::{Session, Sessions};
use crate::database_writes::ThreadWrites;
use crate::disk_usage::{FreeSpace, schema_folder};

/// How often a server is looked at, and how often its process is, which tells whether that is needed at once.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often prepared transactions are looked for while there are none.
const PREPARED_INTERVAL: Duration = Duration::from_secs(5);
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

/// Watches a server until this is dropped.
pub(crate) async fn watch(server: WatchedServer) -> AbortOnDropHandle<()> {
    let process = server_process(server.admin.socket()).await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        let rolls_back = roll_back_prepared(server.admin.clone());
        let watches = DatabaseWatch::new(server, process).run();
        // Side by side: rolling back may take long, and clones can prepare any number of transactions.
        tokio::join!(watches, rolls_back);
    }))
}

/// Rolls back prepared transactions, without an end.
async fn roll_back_prepared(admin: DatabaseAdmin) {
    loop {
        // A server that does not answer is restarted by others.
        let found = admin.client().roll_back_prepared().await.unwrap_or_default();
        // Each look is a process. WordPress prepares none, and who does is likely to go on.
        sleep(if found > 0 { INTERVAL } else { PREPARED_INTERVAL }).await;
    }
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
    /// What the server's threads had written, while its other files were half as large as they may be, or larger.
    writes: Option<ThreadWrites>,
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
            writes: None,
            memory: MemoryUse::default(),
            acted_at: None,
        }
    }

    /// Watches without an end.
    async fn run(mut self) {
        let mut ticks = interval(QUICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check_process().await;
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
        let holders = self.aria_log_holders(&limits, &before, &sessions).await;
        excessive.extend(holders.into_iter().map(|session| (session.id, (session, Excess::AriaLog))));
        let writer = self.writer_of_others(&limits, &before, &sessions).await;
        excessive.extend(writer.map(|session| (session.id, (session, Excess::OtherFiles))));
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
    }

    /// The connections that may keep Aria's log, when that is too large. It is kept as long as a statement runs, or tables are
    /// locked, that has changed one of its tables; nothing says which connection that is, so all of such clones are closed.
    async fn aria_log_holders<'a>(
        &self,
        limits: &DatabaseLimits,
        before: &ServerFiles,
        sessions: &'a Sessions,
    ) -> Vec<&'a Session> {
        let (files, admin) = (&self.files, &self.server.admin);
        if files.aria_log <= limits.aria_log {
            return Vec::new();
        }
        let in_use = admin.schemas_in_use().await.unwrap_or_default();
        let may_hold = |session: &&Session| {
            in_use.contains(&session.user) && files.open_aria_schemas.contains(&schema_folder(&session.user))
        };
        let holders: Vec<_> = sessions.all.iter().filter(may_hold).collect();
        // What is left when nobody writes any more is removed at the next checkpoint, for which Aria waits for a write.
        if holders.is_empty()
            && files.aria_log <= before.aria_log
            && let Err(error) = admin.checkpoint_aria().await
        {
            tracing::warn!(%error, "the log of Aria cannot be emptied");
        }
        holders
    }

    /// The connection that has written most to files, when files that belong to no clone are too large and still grow.
    async fn writer_of_others<'a>(
        &mut self,
        limits: &DatabaseLimits,
        before: &ServerFiles,
        sessions: &'a Sessions,
    ) -> Option<&'a Session> {
        let process = self.process.filter(|_| self.files.others > limits.others / 2);
        let Some(process) = process else {
            self.writes = None;
            return None;
        };
        let now = run_blocking(move || Ok(ThreadWrites::read(process))).await.unwrap_or_default();
        let last = self.writes.replace(now.clone())?;
        if self.files.others <= limits.others.max(before.others) {
            return None;
        }
        tracing::error!(
            bytes = self.files.others,
            "files of a database server that belong to no clone are too large"
        );
        now.largest_writer(&last, &sessions.all)
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

#[cfg(test)]
mod tests {
    use super::*;

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
