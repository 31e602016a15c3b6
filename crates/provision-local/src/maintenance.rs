//! What is looked after while the engine runs. Each part has a loop of its own, so that what fails in one, or takes long,
//! delays no other; [`crate::keep_running`] looks after the clones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wpclone_provision::{CloneInfo, HasUnfinishedTask, Health, Phase, SweepReport};

use crate::backoff::Backoff;
use crate::database_offenders::stop_offenders;
use crate::engine::LocalEngine;
use crate::keep_running::{CHECK_INTERVAL, keep_clones};
use crate::local_clone::LocalClone;
use crate::record::CloneRecord;
use crate::{disk_watch, lock_watch};

/// The longest pause between two attempts to start the database server.
const DATABASE_RETRY_LIMIT: Duration = Duration::from_secs(30);
/// How often clones that are set aside are looked at, the template is tried again, and tombstones are forgotten.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// How long no clone was being created before copies are prewarmed: thousands of files are written and synced, which delays
/// whoever uses a clone that has just been published.
const IDLE_BEFORE_PREWARMING: Duration = Duration::from_secs(60);
/// By how much the deadline of a clone with an unfinished task is postponed.
const POSTPONEMENT: SignedDuration = SignedDuration::from_mins(30);
/// How many clones a sweep deletes at once, and how long it waits for each. Deletions that take longer go on without it.
const CONCURRENT_DELETIONS: usize = 3;
const DELETION_WAIT: Duration = Duration::from_secs(20);

/// What the health consists of.
#[derive(Default)]
struct Status {
    /// Why the database server does not run.
    database: Mutex<Option<String>>,
    /// Why new clones do not fit on the disk.
    disk: Mutex<Option<String>>,
    /// Whether it is known if there is a template.
    template_checked: AtomicBool,
    changed: Notify,
    /// What failed because of the old database server need not wait.
    database_restarted: Notify,
    /// What failed because the disk was full need not wait.
    space_freed: Notify,
}

impl Status {
    fn set(&self, problem: &Mutex<Option<String>>, why: Option<String>) {
        let mut problem = problem.lock();
        if *problem != why {
            *problem = why;
            self.changed.notify_one();
        }
    }
}

/// Starts what should run, again and again; never returns.
pub(crate) async fn run(engine: &Arc<LocalEngine>, report: impl Fn(Health)) {
    let status = Status::default();
    tokio::join!(
        keep_database(engine, &status),
        keep_template(engine, &status),
        keep_clones(engine),
        stop_offenders(engine),
        lock_watch::run(engine),
        check_set_aside(engine),
        sweep_programs(engine),
        prewarm(engine),
        disk_watch::run(engine, |report| {
            status.set(&status.disk, report.problem.map(str::to_owned));
            if report.has_space_again {
                status.space_freed.notify_one();
                engine.clones.all().iter().for_each(|clone| clone.retry_now());
            }
        }),
        report_health(engine, &status, report),
    );
}

async fn report_health(engine: &LocalEngine, status: &Status, report: impl Fn(Health)) {
    loop {
        if status.template_checked.load(Ordering::Acquire) {
            let problems =
                [status.database.lock().clone(), engine.templates.status().err(), status.disk.lock().clone()];
            let problem = problems.into_iter().flatten().next();
            report(problem.map_or(Health::Ready, Health::Unavailable));
        }
        status.changed.notified().await;
    }
}

/// Restarts the shared database server when it dies.
async fn keep_database(engine: &LocalEngine, status: &Status) {
    let mut backoff = Backoff::up_to(DATABASE_RETRY_LIMIT);
    loop {
        // A server that starts on a full disk waits for space, for which it looks once a minute.
        let freed = status.space_freed.notified().boxed().shared();
        let started = engine.shared.ensure_running(freed.clone()).await;
        let why =
            started.as_ref().err().map(|error| format!("the database server cannot be started: {error}"));
        status.set(&status.database, why);
        match started {
            Ok(is_new) => {
                backoff.reset();
                if is_new {
                    status.database_restarted.notify_one();
                }
                sleep(CHECK_INTERVAL).await;
            }
            Err(_) => {
                backoff.fail(std::time::Instant::now());
                if let Some(at) = backoff.retry_at()
                    && timeout_at(Instant::from_std(at), freed).await.is_ok()
                {
                    backoff.reset();
                }
            }
        }
    }
}

/// Prepares the template while there is none.
async fn keep_template(engine: &LocalEngine, status: &Status) {
    loop {
        if engine.templates.status().is_err() {
            engine.templates.prepare(engine.shared.admin()).await;
        }
        status.template_checked.store(true, Ordering::Release);
        status.changed.notify_one();
        let _ = timeout(RETRY_INTERVAL, status.database_restarted.notified()).await;
    }
}

/// Looks at clones that are set aside, and forgets old tombstones.
async fn check_set_aside(engine: &LocalEngine) {
    loop {
        sleep(RETRY_INTERVAL).await;
        engine.recovery.retry().await;
        engine.recovery.refresh_tombstones().await;
    }
}

/// Removes what killed supervisors left, and the first removal could not remove. The pauses grow while that fails.
async fn sweep_programs(engine: &LocalEngine) {
    let mut backoff = Backoff::default();
    loop {
        sleep(RETRY_INTERVAL).await;
        let now = std::time::Instant::now();
        if !backoff.is_due(now) {
            continue;
        }
        let run = engine.host.state_dir.run();
        match engine.host.lock.run_blocking(move || wpclone_supervisor::sweep(&run)).await {
            Ok(swept) if swept.left == 0 => drop(backoff.reset()),
            Ok(swept) => {
                if backoff.fail(now) {
                    tracing::warn!(left = swept.left, "folders of killed programs cannot be removed");
                }
            }
            Err(error) => {
                if backoff.fail(now) {
                    tracing::warn!(%error, "folders of killed programs cannot be removed");
                }
            }
        }
    }
}

/// Prewarms one copy after the other while there is nothing else to do.
async fn prewarm(engine: &LocalEngine) {
    let (mut busy_at, mut backoff) = (Instant::now(), Backoff::default());
    loop {
        sleep(CHECK_INTERVAL).await;
        let is_busy = engine.templates.status().is_err()
            || engine.clones.all().iter().any(|entry| entry.phase().is_before_publication());
        if is_busy {
            busy_at = Instant::now();
        }
        let now = std::time::Instant::now();
        if busy_at.elapsed() < IDLE_BEFORE_PREWARMING || !backoff.is_due(now) {
            continue;
        }
        match engine.templates.prewarm().await {
            Ok(()) => drop(backoff.reset()),
            Err(error) => {
                if backoff.fail(now) {
                    tracing::warn!(%error, "WordPress cannot be copied in advance");
                }
            }
        }
    }
}

/// See [`wpclone_provision::Provisioner::sweep`].
pub(crate) async fn sweep(
    engine: &Arc<LocalEngine>,
    has_unfinished_task: HasUnfinishedTask<'_>,
) -> SweepReport {
    let (now, mut over) = (engine.host.now(), Vec::new());
    for entry in engine.clones.all() {
        let info = entry.info();
        let is_over = match info.phase {
            Phase::Published => info.expires_at.is_some_and(|at| at <= now),
            Phase::Ready | Phase::Creating => info.deadline <= now,
            Phase::Deleting | Phase::Unreadable => false,
        };
        if is_over && has_unfinished_task(&info) {
            postpone_deadline(engine, &entry, now).await;
        } else if is_over {
            over.push((entry, info));
        }
    }
    let delete = |(entry, info): (Arc<LocalClone>, CloneInfo)| async move {
        let deleted = timeout(DELETION_WAIT, engine.destroyer.delete(entry)).await;
        (info, matches!(deleted, Ok(Ok(()))))
    };
    let mut swept = SweepReport::default();
    let mut deletions = std::pin::pin!(stream::iter(over).map(delete).buffer_unordered(CONCURRENT_DELETIONS));
    while let Some((info, is_deleted)) = deletions.next().await {
        let list = match info.phase {
            Phase::Published => &mut swept.expired,
            _ => &mut swept.abandoned,
        };
        list.extend(is_deleted.then_some(info.name));
    }
    swept
}

async fn postpone_deadline(engine: &LocalEngine, entry: &Arc<LocalClone>, now: Timestamp) {
    let postpone = move |record: &mut CloneRecord| {
        // The record of a clone that is being created is written by its creation.
        let is_ready = record.info.phase == Phase::Ready;
        record.info.deadline = now + POSTPONEMENT;
        Ok(is_ready)
    };
    if let Err(error) = entry.change(&engine.host.lock, postpone).await {
        tracing::warn!(clone = %entry.name(), %error, "a clone's deadline cannot be postponed on the disk");
        entry.postpone(now + POSTPONEMENT).await;
    }
}
