//! Claims: taking what is ready, and reading it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use wpclone_task::{Code, Problem, Stage};

use crate::producer::unexpected;
use crate::record::{Body, StoredStep, millis, unreadable};
use crate::{Claim, CompleteOutcome, Delivery, Lease, Queue, QueueError, RetryPolicy, StoredOutput, ms};

/// How many unreadable tasks one claim puts aside before it gives up until the next.
const PUT_ASIDE: u32 = 20;

impl Queue {
    /// Takes the first step that is ready in one of these stages. Never blocks; [`Queue::subscribe_ready`] tells when to look
    /// again.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn claim(&self, worker: &str, stages: &[Stage]) -> Result<Option<Claim>, QueueError> {
        let stages = of_tasks(stages);
        self.first(worker, &stages, |taken| taken.claim(self.options().lease_duration)).await
    }

    /// Takes the first delivery that is ready. Never blocks; [`Queue::subscribe_ready`] tells of [`Stage::Webhook`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn claim_delivery(&self, worker: &str) -> Result<Option<Delivery>, QueueError> {
        let stages = [Stage::Webhook.as_str()];
        self.first(worker, &stages, |taken| taken.delivery(self.options().lease_duration)).await
    }

    /// [`Queue::complete`], and [`Queue::claim`] when that went well, in one call.
    ///
    /// # Errors
    /// As [`Queue::complete`]; then nothing was claimed.
    pub async fn complete_and_claim(
        &self,
        lease: &Lease,
        output: &StoredOutput,
        stages: &[Stage],
    ) -> Result<(CompleteOutcome, Option<Claim>), QueueError> {
        let stages = of_tasks(stages);
        let mut call = self.completion(lease, output)?;
        call.arg(&stages);
        let answer = self.held(&call).await?;
        let completed = completed(&answer)?;
        let claimed = answer.get(1..).unwrap_or_default();
        let next = match claimed.first().map(String::as_str) {
            None | Some("none") => Ok(None),
            Some(_) => self.next_of(&lease.worker, &stages, claimed).await,
        };
        // The step is complete, whatever became of the next: an error would hide that.
        let next = next.inspect_err(|error| tracing::warn!(%error, "the next step was not claimed"));
        Ok((completed, next.unwrap_or_default()))
    }

    /// The claim that came with a completion, or the next one that can be read.
    async fn next_of(
        &self,
        worker: &str,
        stages: &[&str],
        claimed: &[String],
    ) -> Result<Option<Claim>, QueueError> {
        let read = |taken: &RawClaim| taken.claim(self.options().lease_duration);
        if claimed.first().is_some_and(|word| word == "claimed") {
            let taken = RawClaim::read(worker, claimed)?;
            if let Some(claim) = read(&taken) {
                return Ok(Some(claim));
            }
            self.put_aside(&taken.lease).await?;
        }
        self.first(worker, stages, read).await
    }

    /// Claims until something can be read.
    async fn first<T>(
        &self,
        worker: &str,
        stages: &[&str],
        read: impl Fn(&RawClaim) -> Option<T>,
    ) -> Result<Option<T>, QueueError> {
        if stages.is_empty() {
            return Ok(None);
        }
        for _ in 0..PUT_ASIDE {
            let mut call = self.write("claim");
            call.arg(ms(self.options().lease_duration)).arg(stages);
            let answer: Vec<String> = self.store().run(&call).await?;
            match answer.first().map(String::as_str) {
                Some("none") => return Ok(None),
                Some("again") => {}
                Some("claimed") => {
                    let taken = RawClaim::read(worker, &answer)?;
                    match read(&taken) {
                        Some(read) => return Ok(Some(read)),
                        None => self.put_aside(&taken.lease).await?,
                    }
                }
                _ => return Err(unexpected(&answer)),
            }
        }
        // Not `None`: who hears that nothing is ready waits for a signal.
        Err(QueueError::Unexpected("too many tasks cannot be read".into()))
    }

    /// Ends a task that this program cannot read, so that it blocks nobody.
    async fn put_aside(&self, lease: &Lease) -> Result<(), QueueError> {
        tracing::error!(task.id = %lease.task, "task `{}` cannot be read and is ended", lease.task);
        let once = RetryPolicy {
            max_attempts: 1,
            backoff_base: Duration::ZERO,
            backoff_cap: Duration::ZERO,
            not_before: Duration::ZERO,
        };
        match self.fail_with(lease, &Self::unreadable_task(), &once).await {
            Ok(_) | Err(QueueError::LeaseLost) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// What a task ends with whose record cannot be read.
    pub(crate) fn unreadable_task() -> Problem {
        Problem::new(Code::WorkerFault, "The task's record cannot be read by this version of the program.")
    }
}

/// The ends of tasks are no steps: only [`Queue::claim_delivery`] takes them.
fn of_tasks(stages: &[Stage]) -> Vec<&'static str> {
    stages.iter().filter(|s| Stage::OF_TASKS.contains(s)).map(|s| s.as_str()).collect()
}

/// What `complete.lua` says of the step that went well.
pub(crate) fn completed(answer: &[String]) -> Result<CompleteOutcome, QueueError> {
    match answer.first().map(String::as_str) {
        Some("advanced") => Ok(CompleteOutcome::Advanced),
        Some("finished") => Ok(CompleteOutcome::Finished),
        _ => Err(unexpected(answer)),
    }
}

/// A claim as `take.lua` answers it.
struct RawClaim<'a> {
    lease: Lease,
    waited: Duration,
    attempts: &'a str,
    crashes: &'a str,
    record: &'a str,
    replays: &'a str,
    outputs: &'a [String],
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

    /// What the steps before left behind: pairs of `<step>.result` or `<step>.sealed` and the text.
    fn outputs(&self, plan: &[StoredStep]) -> Option<BTreeMap<String, StoredOutput>> {
        let mut outputs: BTreeMap<String, StoredOutput> = BTreeMap::new();
        for pair in self.outputs.chunks_exact(2) {
            let (step, part) = pair[0].split_once('.')?;
            let output = outputs.entry(plan.get(step.parse::<usize>().ok()?)?.name.clone()).or_default();
            match part {
                "result" => output.result = serde_json::from_str(&pair[1]).ok()?,
                _ => output.sealed = Some(pair[1].clone()),
            }
        }
        Some(outputs)
    }

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
            sealed_secrets: given(body.secrets),
            owner: body.owner.to_owned(),
            traceparent: given(body.trace),
            attempts: self.attempts.parse().ok()?,
            crashes: self.crashes.parse().ok()?,
            created_at: body.created,
            waited: self.waited,
            replays: self.replays.parse().ok()?,
            outputs,
        })
    }

    /// Its request is `task kind state code accepted finished`, a code of `-` for none (`queue_delivery` in task.lua).
    fn delivery(&self, lease_duration: Duration) -> Option<Delivery> {
        let body = Body::read(self.record)?;
        let words: Vec<&str> = body.request.split(' ').collect();
        let [task, kind, state, code, accepted, finished] = words[..] else { return None };
        let time = |text: &str| -> Option<Timestamp> { millis(text).ok() };
        Some(Delivery {
            lease: self.lease.clone(),
            lease_duration,
            task: task.parse().ok()?,
            kind: kind.parse().ok()?,
            state: state.parse().ok()?,
            // A newer program may know codes that this one does not.
            code: code.parse().ok(),
            created_at: time(accepted)?,
            finished_at: time(finished)?,
            sealed_callback: given(body.secrets)?,
            traceparent: given(body.trace),
            attempts: self.attempts.parse().ok()?,
            waited: self.waited,
        })
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
