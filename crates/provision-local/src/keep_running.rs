//! Keeps the clones running: starts them, restarts what dies, and continues removals. One clone that takes long, or fails
//! again and again, delays no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use wpclone_provision::{CloneName, CloneProblemKind, Phase};

use crate::engine::LocalEngine;
use crate::fair_limit::FairLimit;
use crate::local_clone::LocalClone;

/// How often programs are checked.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How many clones are started at once, and how many more when their starts take long.
const CONCURRENT_STARTS: usize = 3;
const SLOW_STARTS: usize = 12;
/// How many clones are removed at once, and how many more when that takes long.
const CONCURRENT_REMOVALS: usize = 2;
const SLOW_REMOVALS: usize = 6;
/// How long a start or a removal counts as quick. A start takes some 50 ms on an idle machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a clone needs.
#[derive(Debug, Clone, Copy)]
enum Need {
    Start,
    /// It must not run any more.
    Stop,
    /// Its deletion was interrupted, or has failed.
    Delete,
    /// Its creation was interrupted, or has failed.
    RemoveUnfinished,
}

/// The limits of what is done at once.
struct Limits {
    starts: FairLimit,
    removals: FairLimit,
}

/// Keeps all clones running; never returns.
pub(crate) async fn keep_clones(engine: &Arc<LocalEngine>) {
    let limits = Arc::new(Limits {
        starts: FairLimit::new(CONCURRENT_STARTS, SLOW_STARTS, PATIENCE),
        removals: FairLimit::new(CONCURRENT_REMOVALS, SLOW_REMOVALS, PATIENCE),
    });
    // One piece of work for each clone at most.
    let (mut work, mut names) = (JoinSet::new(), HashMap::<tokio::task::Id, CloneName>::new());
    loop {
        for entry in engine.clones.all() {
            let name = entry.name();
            if names.values().any(|busy| *busy == name) {
                continue;
            }
            if let Some(need) = need(engine, &entry) {
                let (engine, limits) = (Arc::clone(engine), Arc::clone(&limits));
                let handle = work.spawn(async move { limits.meet(&engine, entry, need).await });
                names.insert(handle.id(), name);
            }
        }
        let next = Instant::now() + CHECK_INTERVAL;
        loop {
            let ended = tokio::select! {
                () = sleep_until(next) => break,
                Some(ended) = work.join_next_with_id() => ended,
            };
            names.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
        }
    }
}

/// What the clone needs now.
fn need(engine: &LocalEngine, entry: &LocalClone) -> Option<Need> {
    match entry.phase() {
        Phase::Ready | Phase::Published => {
            // Another task that holds the lock takes care of the clone.
            let mut processes = entry.processes.try_lock().ok()?;
            let is_running = engine.setup.is_running(entry, &mut processes);
            if entry.runnable().is_err() {
                return processes.is_any_left().then_some(Need::Stop);
            }
            entry.set_serving(is_running);
            if is_running {
                return None;
            }
            if entry.note_end() {
                tracing::warn!(clone = %entry.name(), "a clone's programs end soon after their start");
            }
            entry.is_due().then_some(Need::Start)
        }
        Phase::Deleting => entry.is_due().then_some(Need::Delete),
        Phase::Creating => (entry.is_unfinished() && entry.is_due()).then_some(Need::RemoveUnfinished),
        Phase::Unreadable => None,
    }
}

impl Limits {
    async fn meet(&self, engine: &LocalEngine, entry: Arc<LocalClone>, need: Need) {
        match need {
            Need::Start => self.starts.run(start(engine, &entry)).await,
            Need::Stop => stop(&entry).await,
            // A failure is noted and logged by the deletion.
            Need::Delete => drop(self.removals.run(engine.destroyer.delete(entry)).await),
            Need::RemoveUnfinished => {
                drop(self.removals.run(engine.destroyer.delete_unfinished(entry)).await)
            }
        }
    }
}

async fn start(engine: &LocalEngine, entry: &Arc<LocalClone>) {
    let mut processes = entry.processes.lock().await;
    // It may have been deleted or stopped meanwhile.
    if entry.runnable().is_err() || !engine.clones.is_current(entry) {
        return;
    }
    match engine.setup.ensure_running(entry, &mut processes).await {
        Ok(()) => {
            entry.set_serving(true);
            if entry.note_start() {
                tracing::info!(clone = %entry.name(), "a clone that did not start runs now");
            }
        }
        Err(error) => {
            if entry.note_failure(CloneProblemKind::NotStarting, &error.to_string()) {
                let clone = entry.name();
                tracing::warn!(%clone, %error, "a clone cannot be started; it is tried again with growing pauses");
            }
        }
    }
}

async fn stop(entry: &LocalClone) {
    let mut processes = entry.processes.lock().await;
    if entry.runnable().is_err() {
        entry.set_serving(false);
        processes.stop().await;
    }
}
