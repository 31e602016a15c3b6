//! The worker's loops: claiming, sweeping, reporting; calm at the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wpclone_provision::Health;
use wpclone_queue::{Claim, Lease, Queue, WorkerReport};
use wpclone_task::{Code, Problem, Stage, TaskId};

use crate::claiming::claim_until;
use crate::webhook::Webhooks;
use crate::work::Workshop;

const REPORT_EVERY: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const CLEAR_EVERY: Duration = Duration::from_secs(60);

/// What runs, by task: the process that its browser descends from.
type Running = Arc<Mutex<HashMap<TaskId, watch::Receiver<Option<u32>>>>>;

/// The worker's loops.
pub(crate) struct Runner {
    pub(crate) id: String,
    /// The stages it serves, and how many steps of each at once.
    pub(crate) stages: Vec<(Stage, u32)>,
    pub(crate) drain: Duration,
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) webhooks: Arc<Webhooks>,
    /// Whether the queue has heard of this worker: only then it is ready.
    pub(crate) known: Arc<AtomicBool>,
    running: Running,
}

impl Runner {
    pub(crate) fn new(
        id: String,
        stages: Vec<(Stage, u32)>,
        drain: Duration,
        workshop: Arc<Workshop>,
        webhooks: Arc<Webhooks>,
    ) -> Self {
        let (known, running) = (Arc::default(), Running::default());
        Self { id, stages, drain, workshop, webhooks, known, running }
    }

    fn queue(&self) -> &Queue {
        &self.workshop.queue
    }

    /// Works until `shutdown`; then lets running steps end for a while, and gives back what still runs.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let steps = TaskTracker::new();
        tokio::select! {
            () = self.claim_all(&steps, &shutdown) => {}
            () = self.sweep() => {}
            () = self.clear_folders() => {}
            () = self.report() => {}
            () = self.keep_clones() => {}
        }
        steps.close();
        tracing::info!(running = steps.len(), grace_seconds = self.drain.as_secs(), "draining");
        let upkeep = async { tokio::join!(self.sweep(), self.report()) };
        tokio::select! {
            () = steps.wait() => {}
            () = tokio::time::sleep(self.drain) => {}
            _ = upkeep => {}
        }
        self.workshop.hand_back.cancel();
        // A browser is gone within seconds; telling the queue has its own limit.
        if tokio::time::timeout(Duration::from_secs(30), steps.wait()).await.is_err() {
            tracing::error!(running = steps.len(), "steps did not end; their leases will run out");
        }
        if let Err(error) = self.queue().remove_worker(&self.id).await {
            tracing::warn!(%error, "the queue was not told that this worker goes");
        }
    }

    /// Steps of its stages, and callbacks beside them, until `shutdown`.
    async fn claim_all(&self, steps: &TaskTracker, shutdown: &CancellationToken) {
        let of_stage = |(stage, slots): &(Stage, u32)| {
            let (stage, slots) = ([*stage], *slots);
            async move {
                let claim = async || {
                    if stage == [Stage::Provisioning] {
                        tokio::select! { () = self.until_it_may_provision() => {} () = shutdown.cancelled() => return Ok(None) }
                    }
                    self.queue().claim(&self.id, &stage).await
                };
                let start = |claim, slot| self.start(steps, shutdown, claim, slot);
                claim_until(shutdown, self.queue(), &stage, slots, claim, start).await;
            }
        };
        tokio::join!(
            join_all(self.stages.iter().map(of_stage)),
            self.webhooks.claim_all(&self.id, steps, shutdown),
        );
    }

    /// Waits until steps of the provisioning stage are this worker's: not while it gets ready, and not while another one
    /// has the clones' state. Where something is missing they are, so that they end and say so.
    async fn until_it_may_provision(&self) {
        let Some(provisioning) = &self.workshop.provisioning else { return std::future::pending().await };
        let mut health = provisioning.provisioner.watch_health();
        let may = |health: &Health| matches!(health, Health::Ready | Health::Unavailable(_));
        if health.wait_for(may).await.is_err() {
            std::future::pending().await
        }
    }

    /// What others see of clones is kept true, where this worker makes them.
    async fn keep_clones(&self) {
        match &self.workshop.provisioning {
            Some(provisioning) => provisioning.registry.run().await,
            None => std::future::pending().await,
        }
    }

    /// Works in a slot on this step, and on the next ones, as long as there are some and no `shutdown`.
    fn start(
        &self,
        steps: &TaskTracker,
        shutdown: &CancellationToken,
        claim: Claim,
        slot: OwnedSemaphorePermit,
    ) {
        let (workshop, running) = (Arc::clone(&self.workshop), Arc::clone(&self.running));
        let (stage, shutdown) = (claim.stage, shutdown.clone());
        steps.spawn(async move {
            let _slot = slot;
            let more = || if shutdown.is_cancelled() { Vec::new() } else { vec![stage] };
            let mut next = Some(claim);
            while let Some(claim) = next {
                let (pid, seen) = watch::channel(None);
                let (task, lease) = (claim.lease.task, claim.lease.clone());
                running.lock().insert(task, seen);
                let step = workshop.do_step(claim, pid, more);
                let done = std::panic::AssertUnwindSafe(step).catch_unwind().await;
                running.lock().remove(&task);
                next = match done {
                    Ok(next) => next,
                    Err(_) => {
                        told_of_a_panic(&workshop.queue, &lease).await;
                        None
                    }
                };
            }
        });
    }

    async fn sweep(&self) {
        loop {
            match self.queue().sweep().await {
                Ok(swept) if swept.more => continue,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "no sweep"),
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    /// Folders of workers that were killed together with their guards.
    async fn clear_folders(&self) {
        loop {
            let folders = self.workshop.browser.folders.clone();
            match tokio::task::spawn_blocking(move || wpclone_guard::sweep(&folders)).await {
                Ok(Ok(0)) | Err(_) => {}
                Ok(Ok(cleared)) => tracing::info!(cleared, "cleared folders of dead tasks"),
                Ok(Err(error)) => tracing::warn!(%error, "folders of dead tasks cannot be cleared"),
            }
            tokio::time::sleep(CLEAR_EVERY).await;
        }
    }

    async fn report(&self) {
        let started_at = Timestamp::now();
        loop {
            let running: Vec<(TaskId, Option<u32>)> =
                self.running.lock().iter().map(|(id, pid)| (*id, *pid.borrow())).collect();
            let pids: Vec<u32> = running.iter().filter_map(|(_, pid)| *pid).collect();
            let memory = tokio::task::spawn_blocking(move || {
                pids.into_iter().map(wpclone_guard::resident_memory).sum()
            });
            let browser_memory_bytes = memory.await.unwrap_or_default();
            self.workshop
                .metrics
                .browsers(running.iter().filter(|(_, pid)| pid.is_some()).count(), browser_memory_bytes);
            let report = WorkerReport {
                id: self.id.clone(),
                stages: self.stages.iter().map(|(stage, _)| *stage).collect(),
                slots: self.stages.iter().map(|(_, slots)| slots).sum(),
                tasks: running.into_iter().map(|(id, _)| id).collect(),
                started_at,
                browser_memory_bytes,
            };
            match self.queue().report_worker(&report).await {
                Ok(()) => self.known.store(true, Ordering::Relaxed),
                Err(error) => tracing::debug!(%error, "the queue was not told that this worker lives"),
            }
            tokio::time::sleep(REPORT_EVERY).await;
        }
    }
}

async fn told_of_a_panic(queue: &Queue, lease: &Lease) {
    tracing::error!(task.id = %lease.task, "a step panicked");
    let problem =
        Problem::new(Code::WorkerFault, "The worker met a defect of its own while it did this step.");
    if let Err(error) = queue.fail(lease, &problem).await {
        tracing::warn!(%error, task.id = %lease.task, "the queue was not told of the panic");
    }
}
