//! The calls of a lease's holder.

use std::time::Duration;

use wpclone_task::{Problem, Progress};

use crate::claim::complete_outcome;
use crate::functions::Call;
use crate::producer::unexpected;
use crate::record::unreadable;
use crate::{
    Claim, CompleteOutcome, FailOutcome, HeartbeatReply, Lease, Queue, QueueError, RetryPolicy, StoredOutput,
    ms,
};

/// The most bytes of a result, its sealed part included.
pub const MAX_RESULT_BYTES: usize = 32 << 10;
/// The most characters of a progress message.
const MAX_MESSAGE: usize = 500;
/// The most bytes of a checkpoint, its name included.
const MAX_CHECKPOINT: usize = 256;
/// A longer `retry_after` (seconds) ends the task, because its lock would block others meanwhile.
const MAX_RETRY_AFTER: f64 = 600.0;
/// The longest delay. An entry further ahead was written before the clock was set back.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(6 * 3600);

impl Queue {
    /// Extends a lease and stores progress. A changed progress is an event. The first heartbeat confirms the claim.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn heartbeat(
        &self,
        lease: &Lease,
        progress: Option<&Progress>,
    ) -> Result<HeartbeatReply, QueueError> {
        let mut call = self.leased_call(lease, "heartbeat");
        call.arg(ms(self.options().lease_duration));
        match progress {
            Some(p) => {
                call.arg(p.percent.min(100)).arg(p.message.chars().take(MAX_MESSAGE).collect::<String>())
            }
            None => call.arg("").arg(""),
        };
        let answer = self.run_leased(&call).await?;
        Ok(HeartbeatReply { cancel_requested: answer.get(1).is_some_and(|c| c == "1") })
    }

    /// Stores whether the task has altered its target. The note outlives the worker and the attempt: the task's problem
    /// reports it (`changed_target`), whatever the problem is.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn set_target_changed(&self, lease: &Lease, changed: bool) -> Result<(), QueueError> {
        let mut call = self.leased_call(lease, "set_target_changed");
        call.arg(if changed { "1" } else { "0" });
        self.run_leased(&call).await.map(drop)
    }

    /// Stores a value under a name for later claims of the task's steps, also by other workers and after a replay. `None`
    /// deletes it. It is stored openly.
    ///
    /// # Errors
    /// The lease is lost, the value is too large, or Redis failed.
    pub async fn set_checkpoint(
        &self,
        lease: &Lease,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), QueueError> {
        let value = value.unwrap_or_default();
        if name.len() + value.len() > MAX_CHECKPOINT {
            return Err(QueueError::TooLarge("the checkpoint"));
        }
        let mut call = self.leased_call(lease, "set_checkpoint");
        call.arg(name).arg(value);
        self.run_leased(&call).await.map(drop)
    }

    /// Completes a step: the next phase becomes ready, or the task ends.
    ///
    /// # Errors
    /// The lease is lost, the result is too large, or Redis failed.
    pub async fn complete(
        &self,
        lease: &Lease,
        output: &StoredOutput,
    ) -> Result<CompleteOutcome, QueueError> {
        let mut call = self.complete_call(lease, output)?;
        call.arg("").arg("").arg("");
        let answer = self.run_leased(&call).await?;
        complete_outcome(&answer)
    }

    /// A call that completes a step. The nonce of a claim and the stages to claim from are added to it.
    pub(crate) fn complete_call(&self, lease: &Lease, output: &StoredOutput) -> Result<Call, QueueError> {
        let result = serde_json::to_string(&output.result).map_err(|_| unreadable("result"))?;
        let sealed = output.sealed.as_deref().unwrap_or_default();
        if result.len() + sealed.len() > MAX_RESULT_BYTES {
            return Err(QueueError::TooLarge("the result"));
        }
        let mut call = self.leased_call(lease, "complete");
        call.arg(result).arg(sealed).arg(ms(self.options().lease_duration));
        Ok(call)
    }

    /// Fails an attempt at a step. It is retried as often as the problem's code allows, or not at all if the problem says that
    /// it is not retryable; then the task fails. The problem's `retry_after` (seconds) is respected up to ten minutes; a longer one ends the task.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn fail(&self, lease: &Lease, problem: &Problem) -> Result<FailOutcome, QueueError> {
        self.fail_with(lease, problem, &self.retry_policy(problem)).await
    }

    /// Whether [`Queue::fail`] would have a claimed step tried again after this problem, unless its task ends meanwhile.
    #[must_use]
    pub fn is_retried(&self, claim: &Claim, problem: &Problem) -> bool {
        claim.attempts + 1 < self.retry_policy(problem).max_attempts
    }

    fn retry_policy(&self, problem: &Problem) -> RetryPolicy {
        let asked = retry_after(problem);
        let is_final = asked > MAX_RETRY_AFTER || !problem.retryable;
        RetryPolicy {
            max_attempts: if is_final { 1 } else { problem.code.attempts(self.options().max_attempts) },
            backoff_base: self.options().backoff_base,
            backoff_cap: self.options().backoff_cap,
            not_before: Duration::from_secs_f64(asked.min(MAX_RETRY_AFTER)),
        }
    }

    /// [`Queue::fail`] with a retry policy of the caller. No delay is longer than six hours.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn fail_with(
        &self,
        lease: &Lease,
        problem: &Problem,
        retry: &RetryPolicy,
    ) -> Result<FailOutcome, QueueError> {
        let mut call = self.leased_call(lease, "fail");
        call.arg(bounded_json(problem)?).arg(problem.code.as_str()).arg(problem.code.title());
        call.arg(retry.max_attempts)
            .arg(ms(retry.backoff_base))
            .arg(ms(retry.backoff_cap.min(MAX_DELAY)))
            .arg(random()?);
        call.arg(ms(retry.not_before.min(MAX_DELAY)));
        let answer = self.run_leased(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["retrying", ms] => {
                Ok(FailOutcome::Retrying(Duration::from_millis(ms.parse().map_err(|_| unexpected(&answer))?)))
            }
            ["dead"] => Ok(FailOutcome::DeadLettered),
            ["cancelled"] => Ok(FailOutcome::Cancelled),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Reports that a step was stopped because its task is being cancelled.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn confirm_cancel(&self, lease: &Lease) -> Result<(), QueueError> {
        self.run_leased(&self.leased_call(lease, "confirm_cancel")).await.map(drop)
    }

    /// Gives a step back, so that it is the first of its owner, without counting an attempt.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        let mut call = self.leased_call(lease, "release");
        call.arg("").arg("");
        self.run_leased(&call).await.map(drop)
    }

    /// Gives a step back for this time (six hours at most), without counting an attempt.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn defer(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        let mut call = self.leased_call(lease, "release");
        call.arg(ms(delay.min(MAX_DELAY))).arg("");
        self.run_leased(&call).await.map(drop)
    }

    /// [`Queue::defer`] for a step whose record this version cannot read; the task is counted as unreadable.
    pub(crate) async fn release_unreadable(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        let mut call = self.leased_call(lease, "release");
        call.arg(ms(delay)).arg("1");
        self.run_leased(&call).await.map(drop)
    }

    /// A call that needs a valid lease.
    pub(crate) fn leased_call(&self, lease: &Lease, function: &'static str) -> Call {
        let mut call = self.write_call(function);
        call.arg(lease.task.to_string()).arg(lease.step).arg(lease.token);
        call
    }

    pub(crate) async fn run_leased(&self, call: &Call) -> Result<Vec<String>, QueueError> {
        let answer: Vec<String> = self.store().run(call).await?;
        if answer.first().is_some_and(|code| code == "lost") {
            Err(QueueError::LeaseLost)
        } else {
            Ok(answer)
        }
    }
}

/// The problem as JSON. One that is too large loses what is not essential, so that a failure can always be stored.
fn bounded_json(problem: &Problem) -> Result<String, QueueError> {
    let json = serde_json::to_string(problem).map_err(|_| unreadable("problem"))?;
    if json.len() <= MAX_RESULT_BYTES {
        return Ok(json);
    }
    let detail: String = problem.detail.chars().take(MAX_MESSAGE).collect();
    let mut short = Problem::new(problem.code, detail);
    short.stage = problem.stage;
    short.changed_target = problem.changed_target;
    serde_json::to_string(&short).map_err(|_| unreadable("problem"))
}

/// The problem's `retry_after` in seconds, 0 when it is invalid: it comes from the site.
fn retry_after(problem: &Problem) -> f64 {
    let seconds = problem.more.get("retry_after").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    if seconds.is_finite() { seconds.max(0.0) } else { 0.0 }
}

/// A random number in [0, 1).
fn random() -> Result<f64, QueueError> {
    let random = getrandom::u32().map_err(|e| QueueError::Unexpected(e.to_string()))?;
    Ok(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use wpclone_task::Code;

    use super::*;

    #[test]
    fn an_invalid_retry_after_is_ignored() {
        let asked = |value: serde_json::Value| {
            retry_after(&Problem::new(Code::SiteUnreachable, "").with("retry_after", value))
        };
        assert_eq!(asked(30.into()), 30.0);
        assert_eq!(asked((-5).into()), 0.0);
        assert_eq!(asked("soon".into()), 0.0);
    }

    #[test]
    fn a_problem_that_is_too_large_is_shortened() {
        // One text of a problem is bounded by itself; many of them are not.
        let page = |problem: Problem, n| problem.with(&format!("page{n}"), "y".repeat(MAX_RESULT_BYTES));
        let problem = (0..10).fold(Problem::new(Code::SiteFatal, "x".repeat(MAX_RESULT_BYTES)), page);
        let stored: Problem = serde_json::from_str(&bounded_json(&problem).unwrap()).unwrap();
        assert_eq!((stored.code, stored.detail.len(), stored.more.len()), (Code::SiteFatal, MAX_MESSAGE, 0));
    }
}
