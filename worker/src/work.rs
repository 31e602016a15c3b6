//! One claimed step: opened, done, and told how it ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use wpclone_queue::{Claim, Lease, Queue, QueueError, StepOutput};
use wpclone_service::seal::{SealError, Sealer};
use wpclone_service::sealed_task;
use wpclone_service::telemetry;
use wpclone_task::{Code, Outcome, Problem, Request, SecretFields, Stage};

use crate::browser::BrowserStage;
use crate::job::{End, Job, Left, News, secrets_of};
use crate::lease::{self, Stop};
use crate::metrics::{Metrics, StepLabels};
use crate::provisioning::Provisioning;
use crate::tell::until_told;
use crate::transfer::TransferStage;

/// How long the preparation of a site goes on that its owner has cancelled while the migrator was put there.
const PREPARED: Duration = Duration::from_secs(20);

/// What every step works with.
pub(crate) struct Workshop {
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
    pub(crate) browser: BrowserStage,
    pub(crate) transfer: TransferStage,
    /// Where clones are made, when this worker does it.
    pub(crate) provisioning: Option<Provisioning>,
    pub(crate) metrics: Metrics,
    /// Cancelled when steps that still run are to be given back.
    pub(crate) hand_back: CancellationToken,
}

/// How a step ended, as the queue is told.
enum Ending {
    Complete(StepOutput, Option<bool>),
    /// With whether the site was altered, when this attempt touched it.
    Fail(Problem, Option<bool>),
    Cancelled,
    Release,
    /// Somebody else has the step now.
    Nothing,
}

impl Workshop {
    /// Does a step and tells the queue its end. `browser_pid` hears of the browser's processes. When it went well, it
    /// gives the next step of the stages that `more` names.
    pub(crate) async fn do_step(
        &self,
        claim: Claim,
        browser_pid: watch::Sender<Option<u32>>,
        more: impl Fn() -> Vec<Stage>,
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
            let ending = self.work(&claim, browser_pid).instrument(stage).await;
            let outcome = ending.name();
            tracing::Span::current().record("outcome", outcome);
            match &ending {
                Ending::Fail(problem, _) => {
                    tracing::warn!(code = %problem.code, detail = %problem.detail, "the step failed")
                }
                _ => tracing::info!(outcome, "the step ended"),
            }
            let labels =
                StepLabels { kind: claim.request.kind().as_str(), stage: claim.stage.as_str(), outcome };
            self.metrics.step(labels, claim.waited, timer.elapsed());
            self.tell(&claim, ending, more).await
        }
        .instrument(span)
        .await
    }

    async fn work(&self, claim: &Claim, browser_pid: watch::Sender<Option<u32>>) -> Ending {
        let opened = self.open(claim).and_then(|secrets| Ok((secrets, Left::of(claim, &self.sealer)?)));
        let (secrets, before) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let detail = format!("The task's credentials cannot be opened: {error}.");
                return Ending::Fail(Problem::new(Code::WorkerFault, detail), None);
            }
        };
        let Some(request) = claim.request.clone().with_secrets(&secrets) else {
            return Ending::Fail(
                Problem::new(Code::WorkerFault, "The task's credentials are incomplete."),
                None,
            );
        };
        let (news, heard) = watch::channel(News::default());
        let stop = CancellationToken::new();
        let secrets = secrets.into_iter().map(|(_, secret)| secret).chain(secrets_of(&before)).collect();
        let job = Job {
            task: claim.lease.task,
            step: claim.step.clone(),
            owner: claim.owner.clone(),
            created_at: claim.created_at,
            replays: claim.replays,
            request,
            before,
            secrets,
            news,
            stop: stop.clone(),
            browser_pid,
        };
        // In a task of its own: no page of a site, however slow to parse, comes between the lease and its renewal.
        // Only a whole preparation says with which key the migrator can be taken off again.
        let grace = match (&job.request, &*job.step) {
            (Request::Clone(_), "prepare" | "prepare-target") => PREPARED,
            _ => Duration::ZERO,
        };
        let (queue, ending) = (self.queue.clone(), self.hand_back.clone());
        let keeping = lease::keep(queue, claim.clone(), grace, heard, stop.clone(), ending);
        let keeping = AbortOnDropHandle::new(tokio::spawn(keeping.in_current_span()));
        let end = match (claim.stage, &self.provisioning) {
            (Stage::Browser, _) => self.browser.run(&job).await,
            (Stage::Transfer, _) => self.transfer.run(&job).await,
            (Stage::Provisioning, Some(provisioning)) => provisioning.run(&job).await,
            (Stage::Provisioning | Stage::Webhook, _) => {
                End::Failed(Problem::new(Code::WorkerFault, "This worker does not serve the stage."))
            }
        };
        stop.cancel();
        let stopped = keeping.await.unwrap_or(Some(Stop::Lost));
        match (end, stopped) {
            // What was finished counts, also when the wish to stop came at the same moment.
            (End::Done(outcome), _) => self.output(claim, outcome, job.news.borrow().changed),
            (_, Some(Stop::Lost)) => Ending::Nothing,
            (_, Some(Stop::Cancelled)) => Ending::Cancelled,
            (_, Some(Stop::Draining)) | (End::Stopped, None) => Ending::Release,
            (End::Failed(problem), None) => Ending::Fail(problem, job.news.borrow().changed),
        }
    }

    fn open(&self, claim: &Claim) -> Result<SecretFields, SealError> {
        sealed_task::open_request(
            &self.sealer,
            claim.lease.task,
            claim.sealed_secrets.as_deref().unwrap_or("{}"),
        )
    }

    fn output(&self, claim: &Claim, outcome: Outcome, changed: Option<bool>) -> Ending {
        let split = outcome.split();
        match sealed_task::seal_result(&self.sealer, claim.lease.task, &claim.step, &split) {
            Ok(sealed) => Ending::Complete(StepOutput { result: split.public, sealed }, changed),
            Err(e) => Ending::Fail(
                Problem::new(Code::WorkerFault, format!("The result cannot be sealed: {e}.")),
                Some(true),
            ),
        }
    }

    /// Notes what the step did to the target, where a heartbeat may not have come to it.
    async fn note(&self, lease: &Lease, changed: Option<bool>) -> Result<(), QueueError> {
        match changed {
            Some(changed) => self.queue.set_target_changed(lease, changed).await,
            None => Ok(()),
        }
    }

    /// Tells the end, and takes the next step in the same call when it went well.
    async fn tell(&self, claim: &Claim, ending: Ending, more: impl Fn() -> Vec<Stage>) -> Option<Claim> {
        let lease = &claim.lease;
        let asked_before = AtomicBool::new(false);
        let told = until_told(|| async {
            match &ending {
                Ending::Complete(output, changed) => {
                    self.note(lease, *changed).await?;
                    // The first may have been heard though we were not answered: then this is refused, and what it
                    // would claim is nobody's.
                    let stages = if asked_before.swap(true, Ordering::Relaxed) { Vec::new() } else { more() };
                    let done = self.queue.complete_and_claim(lease, output, &stages).await;
                    return done.map(|(_, next)| next);
                }
                Ending::Fail(problem, changed) => {
                    self.note(lease, *changed).await?;
                    self.queue.fail(lease, problem).await.map(drop)
                }
                Ending::Cancelled => self.queue.confirm_cancel(lease).await,
                Ending::Release => self.queue.release(lease).await,
                Ending::Nothing => Ok(()),
            }
            .map(|()| None)
        });
        told.await.flatten()
    }
}

impl Ending {
    fn name(&self) -> &'static str {
        match self {
            Self::Complete(..) => "succeeded",
            Self::Fail(..) => "failed",
            Self::Cancelled => "cancelled",
            Self::Release => "released",
            Self::Nothing => "lost",
        }
    }
}
