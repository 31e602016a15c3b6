//! A clone in memory: its record, the programs that run it, and what fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use wpclone_clone_proxy::ClonePermits;
use wpclone_provision::{CloneInfo, CloneName, CloneProblem, CloneProblemKind, Phase, ProvisionError};

use crate::backoff::Backoff;
use crate::clone_paths::ClonePaths;
use crate::database_relay::DatabaseRelay;
use crate::database_server::DatabaseServer;
use crate::error::failed;
use crate::launcher::Daemon;
use crate::record::CloneRecord;
use crate::state_dir::StateLock;

/// How long a clone's programs run until they count as started: those that end earlier have failed.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The programs of a clone.
#[derive(Debug, Default)]
pub(crate) struct CloneProcesses {
    pub(crate) fpm: Option<Daemon>,
    /// Its way to its database server.
    pub(crate) relay: Option<DatabaseRelay>,
    /// Its own database server, when it is dedicated.
    pub(crate) database: Option<DatabaseServer>,
}

impl CloneProcesses {
    /// Whether there are programs that run or have ended by themselves.
    pub(crate) fn is_any_left(&self) -> bool {
        self.fpm.is_some() || self.database.is_some()
    }

    /// Ends the programs. Each stays here until it is gone: who waits for that may be cancelled, and then the next one waits.
    pub(crate) async fn stop(&mut self) {
        self.stop_fpm().await;
        self.relay = None;
        self.stop_database().await;
    }

    /// Ends its PHP, or what is left of it.
    pub(crate) async fn stop_fpm(&mut self) {
        if let Some(fpm) = &mut self.fpm {
            fpm.stop().await;
            self.fpm = None;
        }
    }

    /// Ends its own database server, or what is left of it.
    pub(crate) async fn stop_database(&mut self) {
        if let Some(database) = &mut self.database {
            database.stop().await;
            self.database = None;
        }
    }
}

/// What fails of a clone again and again: its start, or its removal.
#[derive(Debug, Default)]
struct Upkeep {
    backoff: Backoff,
    problem: Option<CloneProblem>,
    /// When its programs were started last.
    started_at: Option<Instant>,
}

/// A clone.
#[derive(Debug)]
pub(crate) struct LocalClone {
    pub(crate) paths: ClonePaths,
    record: Mutex<CloneRecord>,
    /// Held while the record is changed: on the disk first, which may take long. The proxy takes only the record's mutex.
    changes: Arc<tokio::sync::Mutex<()>>,
    upkeep: Mutex<Upkeep>,
    /// Whether its WordPress takes requests.
    serving: AtomicBool,
    /// Whether its creation has ended without a clone, and what is left of it is to be removed.
    unfinished: AtomicBool,
    /// Why it was stopped for good, before its record says so.
    stopped: OnceLock<CloneProblem>,
    /// The supervisors of its programs, which can be ended by them without the lock of `processes`.
    supervisors: Mutex<Vec<u32>>,
    /// Locked while the clone is started, changed or deleted.
    pub(crate) processes: tokio::sync::Mutex<CloneProcesses>,
    /// Permits of the proxy.
    pub(crate) permits: ClonePermits,
}

impl LocalClone {
    pub(crate) fn new(paths: ClonePaths, record: CloneRecord) -> Self {
        Self {
            paths,
            record: Mutex::new(record),
            changes: Arc::default(),
            upkeep: Mutex::default(),
            serving: AtomicBool::new(false),
            unfinished: AtomicBool::new(false),
            stopped: OnceLock::new(),
            supervisors: Mutex::default(),
            processes: tokio::sync::Mutex::default(),
            permits: ClonePermits::default(),
        }
    }

    pub(crate) fn record(&self) -> CloneRecord {
        self.record.lock().clone()
    }

    /// The clone as it is now. A problem that its record does not have, because it may pass, is in it too.
    pub(crate) fn info(&self) -> CloneInfo {
        let info = self.record.lock().info.clone();
        let problem = info.problem.or_else(|| self.stopped.get().cloned());
        let problem = problem.or_else(|| self.upkeep.lock().problem.clone());
        CloneInfo { problem, ..info }
    }

    pub(crate) fn name(&self) -> CloneName {
        self.record.lock().info.name.clone()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.record.lock().info.phase
    }

    pub(crate) fn slot(&self) -> u32 {
        self.record.lock().slot
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// Whether what is left of its creation is to be removed.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire)
    }

    pub(crate) fn set_unfinished(&self, unfinished: bool) {
        self.unfinished.store(unfinished, Ordering::Release);
    }

    /// Begins a creation anew, with this record.
    pub(crate) fn begin_creation(&self, record: CloneRecord) {
        *self.record.lock() = record;
        *self.upkeep.lock() = Upkeep::default();
        self.set_unfinished(false);
    }

    /// The process ids of the supervisors of its programs.
    pub(crate) fn supervisors(&self) -> Vec<u32> {
        self.supervisors.lock().clone()
    }

    /// Notes which programs run.
    pub(crate) fn note_supervisors(&self, processes: &CloneProcesses) {
        let fpm = processes.fpm.as_ref().and_then(Daemon::supervisor_pid);
        let database = processes.database.as_ref().and_then(DatabaseServer::supervisor_pid);
        *self.supervisors.lock() = fpm.into_iter().chain(database).collect();
    }

    /// Kills its programs. It blocks until they are dead, for a second at most.
    pub(crate) fn kill_programs(&self) {
        self.supervisors().into_iter().for_each(wpclone_supervisor::kill_descendants);
    }

    /// Whether what runs in it is its own: one that is being created runs only what we put into it.
    pub(crate) fn runs_its_own_code(&self) -> bool {
        matches!(self.phase(), Phase::Ready | Phase::Published) && self.stopping_problem().is_none()
    }

    /// Why it was stopped for good, if it was.
    pub(crate) fn stopping_problem(&self) -> Option<CloneProblem> {
        let recorded = self.record.lock().info.problem.clone().filter(|problem| problem.kind.stops_clone());
        recorded.or_else(|| self.stopped.get().cloned())
    }

    /// Marks it as stopped for good, in memory: the disk may take no record.
    pub(crate) fn mark_stopped(&self, problem: CloneProblem) {
        // The first reason stays.
        let _ = self.stopped.set(problem);
        self.set_serving(false);
    }

    /// Writes into the record why the clone was stopped, unless it is being deleted.
    pub(crate) async fn record_stop(self: &Arc<Self>, lock: &Arc<StateLock>) -> Result<(), ProvisionError> {
        let problem = self.stopping_problem();
        let stop = move |record: &mut CloneRecord| {
            record.info.problem = problem;
            Ok(record.info.phase != Phase::Deleting)
        };
        self.change(lock, stop).await.map(drop)
    }

    /// The clone, if it is complete.
    ///
    /// # Errors
    /// It is still being created, or is being deleted.
    pub(crate) fn usable(&self) -> Result<CloneInfo, ProvisionError> {
        let info = self.info();
        match info.phase {
            Phase::Ready | Phase::Published => Ok(info),
            Phase::Deleting => Err(ProvisionError::Gone(info.name)),
            Phase::Creating | Phase::Unreadable => Err(ProvisionError::NotReady(info.name)),
        }
    }

    /// The clone, if it is complete and may run.
    ///
    /// # Errors
    /// It is still being created, is being deleted, or is stopped.
    pub(crate) fn runnable(&self) -> Result<CloneInfo, ProvisionError> {
        let info = self.usable()?;
        match info.problem {
            Some(problem) if problem.kind.stops_clone() => {
                Err(ProvisionError::Stopped { name: info.name, problem })
            }
            _ => Ok(info),
        }
    }

    /// Changes the record, first on the disk, when `change` returns true: a compare-and-swap. The change is completed even
    /// when nobody waits for it any more.
    pub(crate) async fn change(
        self: &Arc<Self>,
        lock: &Arc<StateLock>,
        change: impl FnOnce(&mut CloneRecord) -> Result<bool, ProvisionError> + Send + 'static,
    ) -> Result<CloneInfo, ProvisionError> {
        let (clone, changing) = (Arc::clone(self), Arc::clone(&self.changes).lock_owned().await);
        let work = move || {
            let _changing = changing;
            let mut new = clone.record();
            let changed = change(&mut new);
            if matches!(changed, Ok(true)) {
                new.write(&clone.paths)?;
                *clone.record.lock() = new;
            }
            Ok(changed.map(|_| clone.info()))
        };
        lock.run_blocking(work).await.map_err(failed("the clone's record cannot be written")).flatten()
    }

    /// Marks the clone as being deleted in memory, for when the disk takes no record.
    pub(crate) async fn mark_deleting(&self) {
        let _changing = self.changes.lock().await;
        self.record.lock().info.phase = Phase::Deleting;
    }

    /// Postpones the deadline in memory, for when the disk takes no record.
    pub(crate) async fn postpone(&self, deadline: Timestamp) {
        let _changing = self.changes.lock().await;
        self.record.lock().info.deadline = deadline;
    }

    /// Whether what failed may be tried again.
    pub(crate) fn is_due(&self) -> bool {
        self.upkeep.lock().backoff.is_due(Instant::now())
    }

    /// Has what failed tried again without a pause.
    pub(crate) fn retry_now(&self) {
        self.upkeep.lock().backoff.reset();
    }

    /// Notes that something failed, which is then tried again after a pause. Returns whether it is to be logged.
    pub(crate) fn note_failure(&self, kind: CloneProblemKind, why: &str) -> bool {
        let mut upkeep = self.upkeep.lock();
        if upkeep.problem.as_ref().is_some_and(|problem| problem.kind != kind) {
            upkeep.backoff.reset();
        }
        upkeep.problem = Some(CloneProblem::new(kind, why));
        upkeep.started_at = None;
        upkeep.backoff.fail(Instant::now())
    }

    /// Notes that the clone's programs run. Returns whether they had failed to.
    pub(crate) fn note_start(&self) -> bool {
        let mut upkeep = self.upkeep.lock();
        upkeep.started_at = Some(Instant::now());
        upkeep.problem.take().is_some()
    }

    /// Notes that the clone's programs have ended. When that was soon after their start, it counts as a failure; returns
    /// whether that is to be logged.
    pub(crate) fn note_end(&self) -> bool {
        let mut upkeep = self.upkeep.lock();
        match upkeep.started_at.take() {
            Some(at) if at.elapsed() < STABLE_AFTER => {
                let why = "its programs end soon after they were started";
                upkeep.problem = Some(CloneProblem::new(CloneProblemKind::NotStarting, why));
                upkeep.backoff.fail(Instant::now())
            }
            Some(_) => {
                upkeep.backoff.reset();
                false
            }
            None => false,
        }
    }
}
