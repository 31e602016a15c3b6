//! The worker's loops: claims steps, sweeps the queue, reports on itself, and shuts down gracefully.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wpclone_provision::Health;
use wpclone_queue::{Claim, ClaimAttempt, Queue, WorkerReport};
use wpclone_task::{SiteText, Stage, StageSlots};

use crate::browser::BrowserAvailability;
use crate::claim_loop::claim_loop;
use crate::running_steps::{RunningBrowser, RunningSteps};
use crate::site_cleanup::SiteCleanups;
use crate::slots::{Slot, Slots};
use crate::step_executor::StepExecutor;
use crate::webhook::Webhooks;

const REPORT_INTERVAL: Duration = Duration::from_secs(5);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const FOLDER_SWEEP_INTERVAL: Duration = Duration::from_secs(60);
const MAX_FOLDER_SWEEP_INTERVAL: Duration = Duration::from_secs(960);
/// The most characters of why a stage is unavailable.
const MAX_UNAVAILABLE: usize = 300;
/// How long released steps may take to end: a browser ends within seconds, and reporting has a deadline of its own.
const RELEASE_DEADLINE: Duration = Duration::from_secs(30);

/// The worker's loops.
pub(crate) struct Worker {
    pub(crate) id: String,
    /// The stages of its settings, and how many steps of each run at once.
    pub(crate) stages: Vec<(Stage, u32)>,
    pub(crate) drain: Duration,
    pub(crate) executor: Arc<StepExecutor>,
    pub(crate) webhooks: Arc<Webhooks>,
    /// Executed where the transfer stage is served.
    pub(crate) site_cleanups: Arc<SiteCleanups>,
    /// Whether the queue has accepted a report of this worker: only then it is ready.
    pub(crate) registered: Arc<AtomicBool>,
    running: RunningSteps,
}

impl Worker {
    pub(crate) fn new(
        id: String,
        stages: Vec<(Stage, u32)>,
        drain: Duration,
        executor: Arc<StepExecutor>,
        webhooks: Arc<Webhooks>,
        site_cleanups: Arc<SiteCleanups>,
    ) -> Self {
        let (registered, running) = (Arc::default(), RunningSteps::default());
        Self { id, stages, drain, executor, webhooks, site_cleanups, registered, running }
    }

    fn queue(&self) -> &Queue {
        &self.executor.queue
    }

    fn browser(&self) -> &BrowserAvailability {
        &self.executor.browser.availability
    }

    /// Works until `shutdown`; then lets running steps end within the drain time, and releases those that still run.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let steps = TaskTracker::new();
        let checking = self.check_browser(&shutdown);
        tokio::select! {
            () = self.claim_all(&steps, &shutdown) => {}
            () = self.sweep() => {}
            () = self.sweep_folders() => {}
            () = self.report() => {}
            () = self.maintain_clones() => {}
        }
        steps.close();
        tracing::info!(running = steps.len(), grace_seconds = self.drain.as_secs(), "draining");
        let upkeep = async { tokio::join!(self.sweep(), self.report()) };
        tokio::select! {
            () = steps.wait() => {}
            () = tokio::time::sleep(self.drain) => {}
            _ = upkeep => {}
        }
        self.executor.release.cancel();
        if tokio::time::timeout(RELEASE_DEADLINE, steps.wait()).await.is_err() {
            tracing::error!(running = steps.len(), "steps did not end; their leases will expire");
        }
        if let Some(checking) = checking
            && tokio::time::timeout(RELEASE_DEADLINE, checking).await.is_err()
        {
            tracing::error!("a browser that was being tried did not end");
        }
        if let Err(error) = self.queue().remove_worker(&self.id).await {
            tracing::warn!(%error, "this worker could not be deregistered");
        }
    }

    /// Claims steps of its stages, and callbacks and clean-ups beside them, until `shutdown`.
    async fn claim_all(&self, steps: &TaskTracker, shutdown: &CancellationToken) {
        let of_stage = |(stage, slots): &(Stage, u32)| {
            let (slots, stage) = (Slots::of_stage(*stage, *slots), [*stage]);
            async move {
                let claim = async |attempt: &ClaimAttempt| {
                    tokio::select! {
                        () = self.ready_for(stage[0]) => {}
                        () = shutdown.cancelled() => return Ok(None),
                    }
                    self.queue().claim_with(&self.id, &stage, attempt).await
                };
                let start = |claim, slot| self.start(steps, shutdown, claim, slot);
                claim_loop(shutdown, self.queue(), &stage, slots, claim, start).await;
            }
        };
        tokio::join!(
            join_all(self.stages.iter().map(of_stage)),
            self.webhooks.claim_all(&self.id, steps, shutdown),
            self.clean_up_sites(steps, shutdown),
        );
    }

    /// Undoes what ended tasks have left on sites, where this worker serves the transfer stage.
    async fn clean_up_sites(&self, steps: &TaskTracker, shutdown: &CancellationToken) {
        if self.stages.iter().any(|(stage, _)| *stage == Stage::Transfer) {
            self.site_cleanups.claim_all(&self.id, steps, shutdown).await;
        }
    }

    /// Waits until steps of a stage can be executed here.
    async fn ready_for(&self, stage: Stage) {
        match stage {
            Stage::Provisioning => self.ready_to_provision().await,
            Stage::Browser => self.browser().available().await,
            Stage::Transfer | Stage::Webhook | Stage::Cleanup => {}
        }
    }

    /// Waits while the provisioner starts, and while another worker owns the clones' state. When something is missing it
    /// does not wait: the steps are claimed and fail with what is missing.
    async fn ready_to_provision(&self) {
        let Some(provisioning) = &self.executor.provisioning else { return std::future::pending().await };
        let mut health = provisioning.provisioner.watch_health();
        let is_decided = |health: &Health| matches!(health, Health::Ready | Health::Unavailable(_));
        if health.wait_for(is_decided).await.is_err() {
            std::future::pending().await
        }
    }

    /// Looks for the browser until `shutdown`, where this worker serves its stage.
    fn check_browser(&self, shutdown: &CancellationToken) -> Option<JoinHandle<()>> {
        let serves_it = self.stages.iter().any(|(stage, _)| *stage == Stage::Browser);
        serves_it.then(|| tokio::spawn(self.browser().clone().keep_checking(shutdown.clone())))
    }

    /// Keeps the registry of clones up to date, where this worker provisions them.
    async fn maintain_clones(&self) {
        match &self.executor.provisioning {
            Some(provisioning) => provisioning.registry.run().await,
            None => std::future::pending().await,
        }
    }

    /// Executes this step in a slot, and then, where one owner may have all slots, further steps of its stage, until there
    /// are none or `shutdown`.
    fn start(&self, steps: &TaskTracker, shutdown: &CancellationToken, claim: Claim, mut slot: Slot) {
        if claim.shares_slots {
            slot.set_owner(&claim.owner);
        }
        let (executor, running) = (Arc::clone(&self.executor), self.running.clone());
        let (stage, shutdown, browser) = (claim.stage, shutdown.clone(), self.browser().clone());
        steps.spawn(async move {
            let next_stages = || {
                let can_claim =
                    slot.is_unlimited() && !shutdown.is_cancelled() && can_execute(stage, &browser);
                if can_claim { vec![stage] } else { Vec::new() }
            };
            let mut next = Some(claim);
            while let Some(claim) = next {
                let (running_browser, running_browser_seen) = watch::channel(None);
                let lease = claim.lease.clone();
                let running = running.insert(lease.task, claim.stage, running_browser_seen);
                let step = executor.execute(claim, running_browser, next_stages);
                let done = std::panic::AssertUnwindSafe(step).catch_unwind().await;
                drop(running);
                next = match done {
                    Ok(next) => next,
                    Err(_) => {
                        executor.report_panic(&lease).await;
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
                Err(error) => tracing::debug!(%error, "the queue could not be swept"),
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    /// Removes folders of workers that were killed together with their supervisors. The pauses grow while something cannot
    /// be removed.
    async fn sweep_folders(&self) {
        let mut pause = FOLDER_SWEEP_INTERVAL;
        loop {
            let folders = self.browser().folders().to_owned();
            let swept = tokio::task::spawn_blocking(move || wpclone_supervisor::sweep(&folders)).await;
            let is_left = match swept {
                Ok(Ok(swept)) => {
                    if swept.removed > 0 {
                        tracing::info!(removed = swept.removed, "removed folders of dead tasks");
                    }
                    swept.left > 0
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "folders of dead tasks cannot be removed");
                    false
                }
                Err(_) => false,
            };
            pause = if is_left { (pause * 2).min(MAX_FOLDER_SWEEP_INTERVAL) } else { FOLDER_SWEEP_INTERVAL };
            tokio::time::sleep(pause).await;
        }
    }

    async fn report(&self) {
        let started_at = Timestamp::now();
        loop {
            match self.queue().report_worker(&self.current_report(started_at).await).await {
                Ok(()) => self.registered.store(true, Ordering::Relaxed),
                Err(error) => tracing::debug!(%error, "this worker could not report to the queue"),
            }
            tokio::time::sleep(REPORT_INTERVAL).await;
        }
    }

    /// Why no step of a stage can be done here now.
    fn unavailable(&self, stage: Stage) -> Option<String> {
        match stage {
            Stage::Browser => self.browser().missing(),
            Stage::Provisioning => match self.executor.provisioning.as_ref()?.provisioner.health() {
                Health::Ready => None,
                Health::Starting => Some("the provisioner is starting".to_owned()),
                Health::Waiting => Some("another worker has the state of clones".to_owned()),
                Health::Unavailable(why) => Some(why),
            },
            Stage::Transfer | Stage::Webhook | Stage::Cleanup => None,
        }
    }

    async fn current_report(&self, started_at: Timestamp) -> WorkerReport {
        let browsers = self.running.browsers();
        let count = browsers.len();
        // Processes of other containers are not seen from here.
        let memory = tokio::task::spawn_blocking(move || {
            let supervisors = browsers.into_iter().filter_map(|browser| match browser {
                RunningBrowser::Local { supervisor } => Some(supervisor),
                RunningBrowser::Remote => None,
            });
            supervisors.map(wpclone_supervisor::resident_memory).sum()
        });
        let browser_memory_bytes = memory.await.unwrap_or_default();
        self.executor.metrics.browsers(count, browser_memory_bytes);
        // A stage that is not claimed at the moment is not reported as served.
        let served = self.stages.iter().filter(|(stage, _)| can_execute(*stage, self.browser()));
        let stages: BTreeMap<Stage, StageSlots> = served
            .map(|(stage, slots)| (*stage, StageSlots { slots: *slots, busy: self.running.busy(*stage) }))
            .collect();
        self.executor.metrics.slots(&stages);
        let unavailable =
            self.stages.iter().filter_map(|(stage, _)| Some((*stage, reported(&self.unavailable(*stage)?))));
        WorkerReport {
            unavailable: unavailable.collect(),
            id: self.id.clone(),
            stages,
            tasks: self.running.tasks(),
            started_at,
            browser_memory_bytes,
        }
    }
}

/// Why a stage is unavailable, as it is reported: some of the texts are of programs that are not trusted.
fn reported(why: &str) -> String {
    SiteText::with_limit(why, MAX_UNAVAILABLE).into()
}

/// Whether steps of a stage can be executed now.
fn can_execute(stage: Stage, browser: &BrowserAvailability) -> bool {
    stage != Stage::Browser || browser.missing().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_stage_is_unavailable_is_reported_without_control_characters_and_in_a_bounded_length() {
        assert_eq!(reported("no session: a\u{1b}[31m\nb"), "no session: a b");
        assert_eq!(reported(&"x".repeat(1 << 20)).chars().count(), MAX_UNAVAILABLE + 1);
    }
}
