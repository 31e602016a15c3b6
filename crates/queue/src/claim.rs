//! Claiming ready steps and callbacks.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use wpclone_task::{Code, Problem, Stage};

use crate::functions::Call;
use crate::producer::unexpected;
use crate::record::{Body, StoredStep, millis, unreadable};
use crate::{Claim, CompleteOutcome, Delivery, Lease, Queue, QueueError, RetryPolicy, StoredOutput, ms};

/// The kinds of records that are callbacks and clean-ups of sites: their requests are no JSON.
const INTERNAL: [&str; 2] = ["webhook", "site-cleanup"];
/// How many unreadable records one claim skips before it gives up.
const MAX_SKIPPED: u32 = 20;
/// After this time a step that this version cannot read is offered again, also to workers of other versions.
const UNREADABLE_RETRY: Duration = Duration::from_secs(60);

/// The prefix of checkpoints' names.
const CHECKPOINT: &str = "checkpoint";
/// The prefix of what an attempt at the step has kept for the next one.
const SESSION: &str = "session";
/// The prefix of what the first of the tasks that read a site has stored for the others.
const SHARE: &str = "share";

/// A claim that is asked for until it is answered. Without an answer it is unknown whether it was executed; asked for again
/// with the same value, the lease is that of the first time. A new value is a new claim.
#[derive(Debug, Default)]
pub struct ClaimAttempt {
    /// Set when the claim is first asked for: 16 hex digits.
    nonce: OnceLock<String>,
    passed_over: Option<String>,
}

impl ClaimAttempt {
    /// A claim that was not asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A claim that gets no step of this owner, if any. The owner keeps its turn.
    #[must_use]
    pub fn passing_over(owner: Option<String>) -> Self {
        Self { passed_over: owner, ..Self::default() }
    }

    /// Adds the nonce, whether the claim may have been executed before, and the owner that is passed over, as functions
    /// take them.
    pub(crate) fn add_to(&self, call: &mut Call) -> Result<(), QueueError> {
        if let Some(nonce) = self.nonce.get() {
            call.arg(nonce).arg("1");
        } else {
            let random = getrandom::u64().map_err(|e| QueueError::Unexpected(e.to_string()))?;
            call.arg(self.nonce.get_or_init(|| format!("{random:016x}"))).arg("");
        }
        call.arg(self.passed_over.as_deref().unwrap_or_default());
        Ok(())
    }
}

impl Queue {
    /// Claims a ready step of these stages: the first of the owner whose turn it is. Never blocks;
    /// [`Queue::subscribe_ready`] signals when to try again.
    ///
    /// The holder confirms the claim with its first [`Queue::heartbeat`], before it begins. A lease that expires before is
    /// no crash: the answer to the claim may have been lost.
    ///
    /// # Errors
    /// Redis does not respond, or has another layout.
    pub async fn claim(&self, worker: &str, stages: &[Stage]) -> Result<Option<Claim>, QueueError> {
        self.claim_with(worker, stages, &ClaimAttempt::new()).await
    }

    /// [`Queue::claim`], which may be called again with the same attempt when Redis did not respond.
    ///
    /// # Errors
    /// Those of [`Queue::claim`].
    pub async fn claim_with(
        &self,
        worker: &str,
        stages: &[Stage],
        attempt: &ClaimAttempt,
    ) -> Result<Option<Claim>, QueueError> {
        let stages = task_stages(stages);
        self.claim_first(worker, &stages, attempt, |raw| raw.claim(self.options().lease_duration)).await
    }

    /// Claims a ready callback, as [`Queue::claim`] does a step. [`Queue::subscribe_ready`] signals
    /// [`Stage::Webhook`].
    ///
    /// # Errors
    /// Those of [`Queue::claim`].
    pub async fn claim_delivery(&self, worker: &str) -> Result<Option<Delivery>, QueueError> {
        self.claim_delivery_with(worker, &ClaimAttempt::new()).await
    }

    /// [`Queue::claim_delivery`], which may be called again with the same attempt when Redis did not respond.
    ///
    /// # Errors
    /// Those of [`Queue::claim`].
    pub async fn claim_delivery_with(
        &self,
        worker: &str,
        attempt: &ClaimAttempt,
    ) -> Result<Option<Delivery>, QueueError> {
        let stages = [Stage::Webhook.as_str()];
        self.claim_first(worker, &stages, attempt, |raw| raw.delivery(self.options().lease_duration)).await
    }

    /// [`Queue::complete`], followed by [`Queue::claim`] when it succeeded, in one call. When Redis did not respond, the same
    /// attempt may be made again: it returns the claim of the first time, or [`QueueError::LeaseLost`] when the step was
    /// completed and nothing was claimed.
    ///
    /// # Errors
    /// Those of [`Queue::complete`]; nothing was claimed then.
    pub async fn complete_and_claim(
        &self,
        lease: &Lease,
        output: &StoredOutput,
        stages: &[Stage],
        attempt: &ClaimAttempt,
    ) -> Result<(CompleteOutcome, Option<Claim>), QueueError> {
        let stages = task_stages(stages);
        let mut call = self.complete_call(lease, output)?;
        attempt.add_to(&mut call)?;
        call.arg(&stages);
        let answer = self.run_leased(&call).await?;
        let completed = complete_outcome(&answer)?;
        let claimed = answer.get(1..).unwrap_or_default();
        let next = match claimed.first().map(String::as_str) {
            None | Some("none") => Ok(None),
            Some(_) => self.next_claim(&lease.worker, &stages, claimed, attempt).await,
        };
        // The step is complete whatever happens to the next claim; an error would hide that.
        let next = next.inspect_err(|error| tracing::warn!(%error, "the next step was not claimed"));
        Ok((completed, next.unwrap_or_default()))
    }

    /// The claim that came with a completion, or the next readable one.
    async fn next_claim(
        &self,
        worker: &str,
        stages: &[&str],
        claimed: &[String],
        attempt: &ClaimAttempt,
    ) -> Result<Option<Claim>, QueueError> {
        let read = |raw: &RawClaim| raw.claim(self.options().lease_duration);
        if claimed.first().is_some_and(|word| word == "claimed") {
            let raw = RawClaim::read(worker, claimed)?;
            if let Some(claim) = read(&raw) {
                return Ok(Some(claim));
            }
            self.skip_unreadable(&raw).await?;
        }
        self.claim_first(worker, stages, attempt, read).await
    }

    /// Claims until a claim can be read.
    pub(crate) async fn claim_first<T>(
        &self,
        worker: &str,
        stages: &[&str],
        attempt: &ClaimAttempt,
        read: impl Fn(&RawClaim) -> Option<T>,
    ) -> Result<Option<T>, QueueError> {
        if stages.is_empty() {
            return Ok(None);
        }
        for _ in 0..MAX_SKIPPED {
            let mut call = self.write_call("claim");
            call.arg(ms(self.options().lease_duration));
            attempt.add_to(&mut call)?;
            call.arg(stages);
            let answer: Vec<String> = self.store().run(&call).await?;
            match answer.first().map(String::as_str) {
                Some("none") => return Ok(None),
                Some("again") => {}
                Some("claimed") => {
                    let raw = RawClaim::read(worker, &answer)?;
                    match read(&raw) {
                        Some(read) => return Ok(Some(read)),
                        None => self.skip_unreadable(&raw).await?,
                    }
                }
                _ => return Err(unexpected(&answer)),
            }
        }
        // Not `None`: the caller would wait for a signal.
        Err(QueueError::Unexpected("too many tasks cannot be read".into()))
    }

    /// Ends a corrupt task, and puts off a step that a program of another version may be able to read.
    async fn skip_unreadable(&self, raw: &RawClaim<'_>) -> Result<(), QueueError> {
        let lease = &raw.lease;
        let done = if raw.is_corrupt() {
            tracing::error!(task.id = %lease.task, "the task's record is corrupt: the task fails");
            let no_retry = RetryPolicy {
                max_attempts: 1,
                backoff_base: Duration::ZERO,
                backoff_cap: Duration::ZERO,
                not_before: Duration::ZERO,
            };
            self.fail_with(lease, &Self::corrupt_record(), &no_retry).await.map(drop)
        } else {
            tracing::warn!(
                task.id = %lease.task, retry_seconds = UNREADABLE_RETRY.as_secs(),
                "this version cannot read the task, which another version wrote: it is kept for later"
            );
            self.release_unreadable(lease, UNREADABLE_RETRY).await
        };
        match done {
            Ok(()) | Err(QueueError::LeaseLost) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The problem of a task whose record is corrupt.
    pub(crate) fn corrupt_record() -> Problem {
        Problem::new(Code::WorkerFault, "The task's record is corrupt.")
    }
}

/// Callbacks and clean-ups are claimed only by [`Queue::claim_delivery`] and [`Queue::claim_site_cleanup`].
fn task_stages(stages: &[Stage]) -> Vec<&'static str> {
    stages.iter().filter(|s| Stage::OF_TASKS.contains(s)).map(|s| s.as_str()).collect()
}

/// The first word of an answer of `complete.lua`.
pub(crate) fn complete_outcome(answer: &[String]) -> Result<CompleteOutcome, QueueError> {
    match answer.first().map(String::as_str) {
        Some("advanced") => Ok(CompleteOutcome::Advanced),
        Some("finished") => Ok(CompleteOutcome::Finished),
        _ => Err(unexpected(answer)),
    }
}

/// A claim as `claiming.lua` returns it.
pub(crate) struct RawClaim<'a> {
    pub(crate) lease: Lease,
    waited: Duration,
    pub(crate) attempts: &'a str,
    crashes: &'a str,
    pub(crate) record: &'a str,
    replays: &'a str,
    pub(crate) outputs: &'a [String],
}

impl<'a> RawClaim<'a> {
    fn read(worker: &str, answer: &'a [String]) -> Result<Self, QueueError> {
        let [_, id, step, token, waited, attempts, crashes, record, replays, outputs @ ..] = answer else {
            return Err(unexpected(answer));
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| unreadable("claim"));
        let lease = Lease {
            task: id.parse().map_err(|_| unreadable("id"))?,
            step: step.parse().map_err(|_| unreadable("step"))?,
            token: number(token)?,
            worker: worker.to_owned(),
        };
        let waited = Duration::from_millis(number(waited)?);
        Ok(Self { lease, waited, attempts, crashes, record, replays, outputs })
    }

    /// Whether no version of the program could read it: the request is not even JSON.
    fn is_corrupt(&self) -> bool {
        Body::read(self.record).is_some_and(|body| {
            !INTERNAL.contains(&body.kind) && serde_json::from_str::<IgnoredAny>(body.request).is_err()
        })
    }

    /// The outputs of earlier steps: pairs of `<step>.result` or `<step>.sealed` and the text.
    fn outputs(&self, plan: &[StoredStep]) -> Option<BTreeMap<String, StoredOutput>> {
        let mut outputs: BTreeMap<String, StoredOutput> = BTreeMap::new();
        for pair in self.outputs.chunks_exact(2) {
            let (step, part) = pair[0].split_once('.')?;
            if matches!(step, CHECKPOINT | SESSION | SHARE) {
                continue;
            }
            let output = outputs.entry(plan.get(step.parse::<usize>().ok()?)?.name.clone()).or_default();
            match part {
                "result" => output.result = serde_json::from_str(&pair[1]).ok()?,
                _ => output.sealed = Some(pair[1].clone()),
            }
        }
        Some(outputs)
    }

    /// Checkpoints: pairs of `checkpoint.<name>` and the value.
    fn checkpoints(&self) -> BTreeMap<String, String> {
        let checkpoint = |pair: &[String]| {
            let (kind, name) = pair[0].split_once('.')?;
            (kind == CHECKPOINT).then(|| (name.to_owned(), pair[1].clone()))
        };
        self.outputs.chunks_exact(2).filter_map(checkpoint).collect()
    }

    /// The value of the one pair of this kind: the sealed session of an earlier attempt, or what is shared.
    fn only(&self, kind: &str) -> Option<String> {
        let is_of_kind = |pair: &&[String]| pair[0].split_once('.').is_some_and(|(of, _)| of == kind);
        self.outputs.chunks_exact(2).find(is_of_kind).map(|pair| pair[1].clone())
    }

    /// A step; `None` when this version cannot read it.
    fn claim(&self, lease_duration: Duration) -> Option<Claim> {
        let mut body = Body::read(self.record)?;
        let outputs = self.outputs(&body.plan)?;
        let step = body.plan.get_mut(self.lease.step as usize)?;
        Some(Claim {
            lease: self.lease.clone(),
            lease_duration,
            step: std::mem::take(&mut step.name),
            stage: step.stage,
            request: serde_json::from_str(body.request).ok()?,
            sealed_secrets: non_empty(body.secrets),
            owner: body.owner.to_owned(),
            shares_slots: body.shares_slots,
            traceparent: non_empty(body.trace),
            attempts: self.attempts.parse().ok()?,
            crashes: self.crashes.parse().ok()?,
            created_at: body.created,
            waited: self.waited,
            replays: self.replays.parse().ok()?,
            outputs,
            checkpoints: self.checkpoints(),
            kept_session: self.only(SESSION),
            shared: self.only(SHARE),
        })
    }

    /// A callback. Its request is `task kind state code accepted finished`, with the code `-` for none (`queue_delivery` in
    /// ending.lua).
    fn delivery(&self, lease_duration: Duration) -> Option<Delivery> {
        let body = Body::read(self.record)?;
        let words: Vec<&str> = body.request.split(' ').collect();
        let [task, kind, state, code, accepted, finished] = words[..] else { return None };
        let time = |text: &str| -> Option<Timestamp> { millis(text).ok() };
        Some(Delivery {
            lease: self.lease.clone(),
            lease_duration,
            task: task.parse().ok()?,
            owner: body.owner.to_owned(),
            shares_slots: body.shares_slots,
            kind: kind.parse().ok()?,
            state: state.parse().ok()?,
            // A newer version may have other codes.
            code: code.parse().ok(),
            created_at: time(accepted)?,
            finished_at: time(finished)?,
            sealed_callback: non_empty(body.secrets)?,
            traceparent: non_empty(body.trace),
            attempts: self.attempts.parse().ok()?,
            waited: self.waited,
        })
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
