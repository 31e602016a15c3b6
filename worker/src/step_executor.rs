//! Executes one claimed step: opens its secrets, runs it in its stage, and reports how it ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use wpclone_queue::{Claim, ClaimAttempt, Lease, MAX_RESULT_BYTES, Queue, QueueError, StoredOutput};
use wpclone_service::seal::{SealError, Sealer};
use wpclone_service::sealed_task;
use wpclone_service::telemetry;
use wpclone_task::{Code, Problem, Role, SecretFields, Stage, Step, StepOutput, truncate_result};

use crate::browser::BrowserStage;
use crate::job::{Job, StepEnd, StepUpdate, open_prior_outputs};
use crate::kept_session::KeptSession;
use crate::lease::{self, StopReason, StopTokens};
use crate::login_checkpoint::LoginCheckpoint;
use crate::metrics::{Metrics, StepLabels};
use crate::migrator_install_marker::MigratorInstallMarker;
use crate::provisioning::Provisioning;
use crate::report_outcome::{ReportError, report_with_retry};
use crate::running_steps::RunningBrowser;
use crate::shared_source::{Found, SharedSource};
use crate::site_cleanup::Registrations;
use crate::transfer::TransferStage;

/// How long the preparation of a site may go on after its task was cancelled while the migrator was being installed:
/// only a complete preparation knows the key that removes the migrator again.
const PREPARE_GRACE: Duration = Duration::from_secs(20);
/// How long a step waits for a source that is read by clones whose set-up this worker cannot use.
const SOURCE_DELAY: Duration = Duration::from_secs(10);

/// Executes claimed steps.
pub(crate) struct StepExecutor {
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
    pub(crate) browser: BrowserStage,
    pub(crate) transfer: TransferStage,
    /// Present when this worker serves the provisioning stage.
    pub(crate) provisioning: Option<Provisioning>,
    /// How many clones of one source may read it at once.
    pub(crate) reads_per_source: u32,
    pub(crate) metrics: Metrics,
    /// Cancelled when steps that still run are to be released.
    pub(crate) release: CancellationToken,
}

/// How a step ended, as it is reported to the queue.
enum Report {
    /// With whether the target was changed, when this attempt touched it.
    Complete(StoredOutput, Option<bool>),
    /// The same.
    Fail(Problem, Option<bool>),
    Cancelled,
    Release,
    /// The step is released for this time.
    Defer(Duration),
    /// Nothing is reported: another worker has the step now.
    LeaseLost,
}

impl StepExecutor {
    /// Executes a step and reports its end. `running_browser` receives where the step's browser runs. After a
    /// success it returns the next claim of the stages that `next_stages` names.
    pub(crate) async fn execute(
        &self,
        claim: Claim,
        running_browser: watch::Sender<Option<RunningBrowser>>,
        next_stages: impl Fn() -> Vec<Stage>,
    ) -> Option<Claim> {
        let span = tracing::info_span!(
            "task", task.id = %claim.lease.task, task.kind = %claim.request.kind(), attempt = claim.attempts + 1,
            crashes = claim.crashes, trace_id = tracing::field::Empty, outcome = tracing::field::Empty,
        );
        telemetry::continue_trace(&span, claim.traceparent.as_deref());
        span.record("trace_id", telemetry::trace_id(&span));
        async {
            let timer = std::time::Instant::now();
            tracing::info!(waited_ms = claim.waited.as_millis() as u64, "claimed");
            let stage = tracing::info_span!("stage", stage = %claim.stage, step = %claim.step);
            let report = self.run(&claim, running_browser).instrument(stage).await;
            let outcome = report.outcome();
            tracing::Span::current().record("outcome", outcome);
            match &report {
                Report::Fail(problem, _) => {
                    tracing::warn!(code = %problem.code, detail = %problem.detail, "the step failed")
                }
                _ => tracing::info!(outcome, "the step ended"),
            }
            let labels =
                StepLabels { kind: claim.request.kind().as_str(), stage: claim.stage.as_str(), outcome };
            self.metrics.step(labels, claim.waited, timer.elapsed());
            self.report(&claim, report, next_stages).await
        }
        .instrument(span)
        .await
    }

    async fn run(&self, claim: &Claim, running_browser: watch::Sender<Option<RunningBrowser>>) -> Report {
        match lease::confirm(&self.queue, &claim.lease, claim.lease_duration).await {
            Ok(reply) if reply.cancel_requested => return Report::Cancelled,
            Ok(_) => {}
            Err(QueueError::LeaseLost) => return Report::LeaseLost,
            Err(error) => {
                tracing::warn!(%error, "the claim could not be confirmed; the step is not begun");
                return Report::Release;
            }
        }
        let (updates, updates_seen) = watch::channel(StepUpdate::default());
        let job = match self.open(claim, updates, running_browser) {
            Ok(job) => job,
            Err(problem) => return Report::Fail(*problem, None),
        };
        let shared = match job.shared_source.find().await {
            Ok(Found::NotUsable) => return Report::Defer(SOURCE_DELAY),
            Ok(Found::SetUp(site)) => Some(StepEnd::Done(StepOutput::Prepared(Role::Source, site))),
            Ok(Found::Nothing) => None,
            Err(problem) => return Report::Fail(problem.at(claim.stage), None),
        };
        let grace = match job.step {
            Step::Prepare | Step::PrepareTarget => PREPARE_GRACE,
            _ => Duration::ZERO,
        };
        // A task of its own: a page that is slow to parse must not delay the lease's renewal.
        let stop = StopTokens { stop: job.stop.clone(), is_cancelled: job.is_cancelled.clone() };
        let keep =
            lease::keep(self.queue.clone(), claim.clone(), grace, updates_seen, stop, self.release.clone());
        let keep = AbortOnDropHandle::new(tokio::spawn(keep.in_current_span()));
        let is_shared = shared.is_some();
        let end = match shared {
            Some(end) => end,
            None => self.run_in_stage(&job).await,
        };
        job.stop.cancel();
        let stopped = keep.await.unwrap_or(Some(StopReason::LeaseLost));
        match (end, stopped) {
            // A finished step counts even if it was to stop at the same moment.
            (StepEnd::Done(output), _) => {
                let changed = job.updates.borrow().changed;
                match job.left_on_sites.register(&job, &output).await {
                    Ok(()) => {
                        if !is_shared {
                            job.shared_source.share(&output).await;
                        }
                        self.complete(claim, output, changed)
                    }
                    Err(problem) => Report::Fail(problem.at(claim.stage), changed),
                }
            }
            (_, Some(StopReason::LeaseLost)) => Report::LeaseLost,
            (_, Some(StopReason::Cancelled)) => Report::Cancelled,
            (_, Some(StopReason::Shutdown)) | (StepEnd::Stopped, None) => Report::Release,
            (StepEnd::Failed(problem), None) => Report::Fail(problem, job.updates.borrow().changed),
        }
    }

    async fn run_in_stage(&self, job: &Job) -> StepEnd {
        match (job.step.stage(), &self.provisioning) {
            (Stage::Browser, _) => self.browser.run(job).await,
            (Stage::Transfer, _) => self.transfer.run(job).await,
            (Stage::Provisioning, Some(provisioning)) => provisioning.run(job).await,
            (Stage::Provisioning | Stage::Webhook | Stage::Cleanup, _) => {
                StepEnd::Failed(Problem::new(Code::WorkerFault, "This worker does not serve the stage."))
            }
        }
    }

    /// Opens the secrets of the request and of earlier steps.
    fn open(
        &self,
        claim: &Claim,
        updates: watch::Sender<StepUpdate>,
        running_browser: watch::Sender<Option<RunningBrowser>>,
    ) -> Result<Job, Box<Problem>> {
        let fault = |detail: String| Box::new(Problem::new(Code::WorkerFault, detail));
        let step = claim.step.parse();
        let step = step.map_err(|_| fault(format!("This version has no step `{}`.", claim.step)))?;
        let sealed = |error: SealError| fault(format!("The task's credentials cannot be opened: {error}."));
        let secrets = self.open_request(claim).map_err(sealed)?;
        let prior = open_prior_outputs(claim, &self.sealer).map_err(sealed)?;
        let kept_session = KeptSession::of(&self.queue, claim, &self.sealer).map_err(sealed)?;
        let request = claim.request.clone().with_secrets(&secrets);
        let request = request.ok_or_else(|| fault("The task's credentials are incomplete.".into()))?;
        Ok(Job {
            task: claim.lease.task,
            step,
            owner: claim.owner.clone(),
            has_other_owners: claim.shares_slots,
            created_at: claim.created_at,
            replays: claim.replays,
            request,
            secrets: secrets.into_iter().map(|(_, secret)| secret).chain(prior.secrets()).collect(),
            prior,
            login_checkpoint: LoginCheckpoint::of(&self.queue, claim),
            kept_session,
            source_marker: MigratorInstallMarker::of(&self.queue, claim, Role::Source),
            target_marker: MigratorInstallMarker::of(&self.queue, claim, Role::Target),
            shared_source: SharedSource::of(&self.queue, claim, &self.sealer, self.reads_per_source),
            left_on_sites: Registrations::of(&self.queue, claim, &self.sealer),
            updates,
            stop: CancellationToken::new(),
            is_cancelled: CancellationToken::new(),
            browser: running_browser,
        })
    }

    fn open_request(&self, claim: &Claim) -> Result<SecretFields, SealError> {
        let sealed = claim.sealed_secrets.as_deref().unwrap_or("{}");
        sealed_task::open_request(&self.sealer, claim.lease.task, sealed)
    }

    /// The report of a success. A result that is larger than the queue accepts is shortened, and says so.
    fn complete(&self, claim: &Claim, output: StepOutput, changed: Option<bool>) -> Report {
        let parts = output.into_parts();
        let sealed = match sealed_task::seal_result(&self.sealer, claim.lease.task, &claim.step, &parts) {
            Ok(sealed) => sealed,
            Err(error) => {
                let detail = format!("The result cannot be sealed: {error}.");
                return Report::Fail(Problem::new(Code::WorkerFault, detail), changed);
            }
        };
        let mut result = parts.public;
        let room = MAX_RESULT_BYTES.saturating_sub(sealed.as_ref().map_or(0, String::len));
        if !truncate_result(&mut result, room) {
            let detail = "The step's result is larger than 32 KiB and cannot be shortened.";
            return Report::Fail(Problem::new(Code::ResultTooLarge, detail).at(claim.stage), changed);
        }
        Report::Complete(StoredOutput { result, sealed }, changed)
    }

    /// Records whether the target was changed: a heartbeat may not have come to it.
    async fn record_change(&self, lease: &Lease, changed: Option<bool>) -> Result<(), QueueError> {
        match changed {
            Some(changed) => self.queue.set_target_changed(lease, changed).await,
            None => Ok(()),
        }
    }

    /// Reports the end of a step, and claims the next one when it succeeded. A step whose end the queue rejects fails:
    /// it would be repeated if its lease expired.
    async fn report(
        &self,
        claim: &Claim,
        report: Report,
        next_stages: impl Fn() -> Vec<Stage>,
    ) -> Option<Claim> {
        let error = match self.send_report(&claim.lease, &report, next_stages).await {
            Ok(next) => return next,
            Err(error) => error,
        };
        tracing::error!(%error, "the end of the step was not stored");
        let failure = Report::Fail(error.problem()?.at(claim.stage), report.changed());
        if let Err(error) = self.send_report(&claim.lease, &failure, Vec::new).await {
            tracing::error!(%error, "nor was its failure; the lease will expire");
        }
        None
    }

    /// Sends a report, and claims the next step in the same call after a success.
    async fn send_report(
        &self,
        lease: &Lease,
        report: &Report,
        next_stages: impl Fn() -> Vec<Stage>,
    ) -> Result<Option<Claim>, ReportError> {
        let (attempt, is_recorded) = (ClaimAttempt::new(), AtomicBool::new(false));
        report_with_retry(|| async {
            match report {
                Report::Complete(output, changed) => {
                    // Not again in a retry: the lease may have ended with the completion, whose response was lost.
                    if !is_recorded.load(Ordering::Relaxed) {
                        self.record_change(lease, *changed).await?;
                        is_recorded.store(true, Ordering::Relaxed);
                    }
                    let done = self.queue.complete_and_claim(lease, output, &next_stages(), &attempt).await;
                    return done.map(|(_, next)| next);
                }
                Report::Fail(problem, changed) => {
                    self.record_change(lease, *changed).await?;
                    self.queue.fail(lease, problem).await.map(drop)
                }
                Report::Cancelled => self.queue.confirm_cancel(lease).await,
                Report::Release => self.queue.release(lease).await,
                Report::Defer(delay) => self.queue.defer(lease, *delay).await,
                Report::LeaseLost => Ok(()),
            }
            .map(|()| None)
        })
        .await
    }

    /// Reports that the worker met a defect of its own while it executed a step.
    pub(crate) async fn report_panic(&self, lease: &Lease) {
        tracing::error!(task.id = %lease.task, "a step panicked");
        let detail = "The worker met a defect of its own while it executed this step.";
        let failure = Report::Fail(Problem::new(Code::WorkerFault, detail), None);
        if let Err(error) = self.send_report(lease, &failure, Vec::new).await {
            tracing::error!(%error, task.id = %lease.task, "the panic could not be reported to the queue");
        }
    }
}

impl Report {
    /// Whether the target was changed, when this attempt touched it.
    fn changed(&self) -> Option<bool> {
        match self {
            Self::Complete(_, changed) | Self::Fail(_, changed) => *changed,
            Self::Cancelled | Self::Release | Self::Defer(_) | Self::LeaseLost => None,
        }
    }

    fn outcome(&self) -> &'static str {
        match self {
            Self::Complete(..) => "succeeded",
            Self::Fail(..) => "failed",
            Self::Cancelled => "cancelled",
            Self::Release | Self::Defer(_) => "released",
            Self::LeaseLost => "lost",
        }
    }
}

#[cfg(test)]
mod tests;
