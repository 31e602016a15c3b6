//! What is looked after while the engine runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use wpclone_provision::{HasUnfinishedTask, Health, Phase, SweepReport};

use crate::engine::LocalEngine;
use crate::local_clone::LocalClone;

/// How often programs are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait after the database server could not be started.
const DATABASE_RETRY_DELAY: Duration = Duration::from_secs(5);
/// How often clones that are set aside are looked at, the template is tried again, and tombstones are forgotten.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// How many clones are started at once.
const CONCURRENT_STARTS: usize = 3;
/// How long no clone was being created before copies are prewarmed.
const IDLE_BEFORE_PREWARMING: Duration = Duration::from_secs(10);
/// How long a prewarmed copy may delay the next check of programs.
const PREWARMING_TIMEOUT: Duration = Duration::from_secs(5);
/// By how much the deadline of a clone with an unfinished task is postponed.
const POSTPONEMENT: SignedDuration = SignedDuration::from_mins(30);

/// Starts what should run, again and again; never returns.
pub(crate) async fn run(engine: &Arc<LocalEngine>, report: impl Fn(Health)) {
    let (mut last_retry, mut prewarming, mut busy_at) = (None, None, Instant::now());
    loop {
        match engine.shared.ensure_running().await {
            Ok(false) => {}
            // What failed because of the old server need not wait.
            Ok(true) => last_retry = None,
            Err(error) => {
                report(Health::Unavailable(format!("the database server cannot be started: {error}")));
                sleep(DATABASE_RETRY_DELAY).await;
                continue;
            }
        }
        stream::iter(engine.clones.all())
            .for_each_concurrent(CONCURRENT_STARTS, |entry| async move { keep_running(engine, &entry).await })
            .await;
        if last_retry.is_none_or(|at: Instant| at.elapsed() >= RETRY_INTERVAL) {
            last_retry = Some(Instant::now());
            if retry(engine).await {
                busy_at = Instant::now();
            }
        }
        report(match engine.templates.status() {
            Ok(_) => Health::Ready,
            Err(why) => Health::Unavailable(why),
        });
        sleep(CHECK_INTERVAL).await;
        if engine.clones.all().iter().any(|entry| entry.phase().is_before_publication()) {
            busy_at = Instant::now();
        }
        if !prewarm(engine, &mut prewarming, busy_at.elapsed() >= IDLE_BEFORE_PREWARMING).await {
            busy_at = Instant::now();
        }
    }
}

/// Tries again what failed; returns whether the template was prepared.
async fn retry(engine: &LocalEngine) -> bool {
    engine.recovery.retry().await;
    let dir = &engine.host.state_dir;
    engine.clones.tombstones.forget_old(engine.host.now(), |name| {
        let data = dir.mariadb().join(name.as_str());
        engine.clones.knows(name) || data.exists() || dir.clone_paths(name).folder.exists()
    });
    let is_missing = engine.templates.status().is_err();
    if is_missing {
        engine.templates.prepare(engine.shared.admin()).await;
    }
    is_missing
}

/// Prewarms one copy after the other while there is nothing else to do; returns whether that works.
async fn prewarm(
    engine: &LocalEngine,
    running: &mut Option<JoinHandle<io::Result<()>>>,
    is_idle: bool,
) -> bool {
    if running.is_none() && is_idle {
        let templates = Arc::clone(&engine.templates);
        *running = Some(tokio::spawn(async move { templates.prewarm().await }));
    }
    if let Some(copying) = running
        && let Ok(copied) = timeout(PREWARMING_TIMEOUT, copying).await
    {
        *running = None;
        if let Ok(Err(error)) = copied {
            tracing::warn!(%error, "WordPress cannot be copied in advance");
            return false;
        }
    }
    true
}

/// Starts a clone's programs if they do not run; continues a deletion that was interrupted.
async fn keep_running(engine: &LocalEngine, entry: &Arc<LocalClone>) {
    // Another task that holds the lock takes care of the clone.
    let Ok(mut processes) = entry.processes.try_lock() else { return };
    if matches!(entry.phase(), Phase::Ready | Phase::Published) {
        match engine.setup.ensure_running(entry, &mut processes).await {
            Ok(()) => entry.set_serving(true),
            Err(error) => tracing::warn!(clone = %entry.name(), %error, "a clone cannot be started"),
        }
        return;
    }
    drop(processes);
    if entry.phase() == Phase::Deleting {
        delete(engine, entry).await;
    }
}

async fn delete(engine: &LocalEngine, entry: &Arc<LocalClone>) -> bool {
    let deleted = engine.destroyer.delete(Arc::clone(entry)).await;
    if let Err(error) = &deleted {
        tracing::warn!(clone = %entry.name(), %error, "a clone cannot be deleted");
    }
    deleted.is_ok()
}

/// See [`wpclone_provision::Provisioner::sweep`].
pub(crate) async fn sweep(engine: &LocalEngine, has_unfinished_task: HasUnfinishedTask<'_>) -> SweepReport {
    let (mut swept, now) = (SweepReport::default(), engine.host.now());
    for entry in engine.clones.all() {
        let info = entry.info();
        let is_over = match info.phase {
            Phase::Published => info.expires_at.is_some_and(|at| at <= now),
            Phase::Ready | Phase::Creating => info.deadline <= now,
            Phase::Deleting | Phase::Unreadable => false,
        };
        if !is_over {
            continue;
        }
        if has_unfinished_task(&info) {
            postpone_deadline(&entry, now);
        } else if delete(engine, &entry).await {
            let list = match info.phase {
                Phase::Published => &mut swept.expired,
                _ => &mut swept.abandoned,
            };
            list.push(info.name);
        }
    }
    swept
}

fn postpone_deadline(entry: &LocalClone, now: Timestamp) {
    let postponed = entry.change(|record| {
        // The record of a clone that is being created is written by its creation.
        let is_ready = record.info.phase == Phase::Ready;
        record.info.deadline = now + POSTPONEMENT;
        Ok(is_ready)
    });
    if let Err(error) = postponed {
        tracing::warn!(clone = %entry.name(), %error, "a clone's deadline cannot be postponed");
    }
}
