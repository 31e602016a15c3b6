//! The worker's side: claims and what becomes of them.

use std::time::Duration;

use wpclone_task::{Problem, Progress};

use crate::claim::completed;
use crate::functions::Call;
use crate::producer::unexpected;
use crate::record::unreadable;
use crate::{
    CompleteOutcome, FailOutcome, HeartbeatReply, Lease, Queue, QueueError, RetryPolicy, StoredOutput, ms,
};

/// The most bytes that a result may have, its sealed part included.
const RESULT: usize = 32 << 10;
/// The most characters of a progress message.
const MESSAGE: usize = 500;
/// A site that wants to be left alone for longer than this gets the task ended: its lock would block others.
const LONGEST_RETRY_AFTER: f64 = 600.0;
/// The longest that anything is put off: what lies further ahead was written before the clock was set back.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(6 * 3600);

impl Queue {
    /// Extends a lease and stores progress (an event when it changed).
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn heartbeat(
        &self,
        lease: &Lease,
        progress: Option<&Progress>,
    ) -> Result<HeartbeatReply, QueueError> {
        let mut call = self.under(lease, "heartbeat");
        call.arg(ms(self.options().lease_duration));
        match progress {
            Some(p) => call.arg(p.percent.min(100)).arg(p.message.chars().take(MESSAGE).collect::<String>()),
            None => call.arg("").arg(""),
        };
        let answer = self.held(&call).await?;
        Ok(HeartbeatReply { cancel_requested: answer.get(1).is_some_and(|c| c == "1") })
    }

    /// Notes that the task has altered its target, or that it is again as it was. The note outlives the worker and
    /// its attempt: whatever problem the task ends with says so (`changed_target`).
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn set_target_changed(&self, lease: &Lease, changed: bool) -> Result<(), QueueError> {
        let mut call = self.under(lease, "changed");
        call.arg(if changed { "1" } else { "0" });
        self.held(&call).await.map(drop)
    }

    /// A step went well: the next phase becomes ready, or the task ends.
    ///
    /// # Errors
    /// The lease is lost, too large a result, or Redis.
    pub async fn complete(&self, lease: &Lease, output: &StoredOutput) -> Result<CompleteOutcome, QueueError> {
        let answer = self.held(&self.completion(lease, output)?).await?;
        completed(&answer)
    }

    /// Begins a call that completes a step; stages to claim from may follow.
    pub(crate) fn completion(&self, lease: &Lease, output: &StoredOutput) -> Result<Call, QueueError> {
        let result = serde_json::to_string(&output.result).map_err(|_| unreadable("result"))?;
        let sealed = output.sealed.as_deref().unwrap_or_default();
        if result.len() + sealed.len() > RESULT {
            return Err(QueueError::TooLarge("the result"));
        }
        let mut call = self.under(lease, "complete");
        call.arg(result).arg(sealed).arg(ms(self.options().lease_duration));
        Ok(call)
    }

    /// A step failed: it is tried again when its problem is worth it, else the task ends. `retry_after` (seconds)
    /// of the problem is honoured up to ten minutes; beyond, the task ends.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn fail(&self, lease: &Lease, problem: &Problem) -> Result<FailOutcome, QueueError> {
        let asked = retry_after(problem);
        let max_attempts =
            if asked > LONGEST_RETRY_AFTER { 1 } else { problem.code.attempts(self.options().max_attempts) };
        let retry = RetryPolicy {
            max_attempts,
            backoff_base: self.options().backoff_base,
            backoff_cap: self.options().backoff_cap,
            not_before: Duration::from_secs_f64(asked.min(LONGEST_RETRY_AFTER)),
        };
        self.fail_with(lease, problem, &retry).await
    }

    /// [`Queue::fail`] with a rule of one's own for another try. No delay is longer than six hours.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn fail_with(
        &self,
        lease: &Lease,
        problem: &Problem,
        retry: &RetryPolicy,
    ) -> Result<FailOutcome, QueueError> {
        let mut call = self.under(lease, "fail");
        call.arg(bounded(problem)?).arg(problem.code.as_str()).arg(problem.code.title());
        call.arg(retry.max_attempts)
            .arg(ms(retry.backoff_base))
            .arg(ms(retry.backoff_cap.min(LONGEST_DELAY)))
            .arg(chance()?);
        call.arg(ms(retry.not_before.min(LONGEST_DELAY)));
        let answer = self.held(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["retrying", ms] => {
                Ok(FailOutcome::Retrying(Duration::from_millis(ms.parse().map_err(|_| unexpected(&answer))?)))
            }
            ["dead"] => Ok(FailOutcome::DeadLettered),
            ["cancelled"] => Ok(FailOutcome::Cancelled),
            _ => Err(unexpected(&answer)),
        }
    }

    /// A step was stopped because its owner asked for the task's end.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn confirm_cancel(&self, lease: &Lease) -> Result<(), QueueError> {
        self.held(&self.under(lease, "cancelled")).await.map(drop)
    }

    /// Gives a step back to the front of its queue, at no cost in attempts.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        let mut call = self.under(lease, "release");
        call.arg("");
        self.held(&call).await.map(drop)
    }

    /// Puts a step off for so long (six hours at most), at no cost in attempts.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn defer(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        let mut call = self.under(lease, "release");
        call.arg(ms(delay.min(LONGEST_DELAY)));
        self.held(&call).await.map(drop)
    }

    /// Begins a call that only the holder of a lease may make.
    fn under(&self, lease: &Lease, function: &'static str) -> Call {
        let mut call = self.write(function);
        call.arg(lease.task.to_string()).arg(lease.step).arg(lease.token);
        call
    }

    pub(crate) async fn held(&self, call: &Call) -> Result<Vec<String>, QueueError> {
        let answer: Vec<String> = self.store().run(call).await?;
        if answer.first().is_some_and(|code| code == "lost") {
            Err(QueueError::LeaseLost)
        } else {
            Ok(answer)
        }
    }
}

/// The problem as JSON. One that is too large loses what is not essential: a failure can always be told.
fn bounded(problem: &Problem) -> Result<String, QueueError> {
    let json = serde_json::to_string(problem).map_err(|_| unreadable("problem"))?;
    if json.len() <= RESULT {
        return Ok(json);
    }
    let detail: String = problem.detail.chars().take(MESSAGE).collect();
    let mut short = Problem::new(problem.code, detail);
    short.stage = problem.stage;
    short.changed_target = problem.changed_target;
    serde_json::to_string(&short).map_err(|_| unreadable("problem"))
}

/// How many seconds the site wants to be left alone; a site's word, so anything may stand there.
fn retry_after(problem: &Problem) -> f64 {
    let seconds = problem.more.get("retry_after").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    if seconds.is_finite() { seconds.max(0.0) } else { 0.0 }
}

/// A random number in [0, 1).
fn chance() -> Result<f64, QueueError> {
    let random = getrandom::u32().map_err(|e| QueueError::Unexpected(e.to_string()))?;
    Ok(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use wpclone_task::Code;

    use super::*;

    #[test]
    fn a_site_cannot_ask_for_nonsense() {
        let asked = |value: serde_json::Value| {
            retry_after(&Problem::new(Code::SiteUnreachable, "").with("retry_after", value))
        };
        assert_eq!(asked(30.into()), 30.0);
        assert_eq!(asked((-5).into()), 0.0);
        assert_eq!(asked("soon".into()), 0.0);
    }

    #[test]
    fn a_problem_that_is_too_large_is_told_in_short() {
        let problem = Problem::new(Code::SiteFatal, "x".repeat(RESULT)).with("page", "y");
        let told: Problem = serde_json::from_str(&bounded(&problem).unwrap()).unwrap();
        assert_eq!((told.code, told.detail.len(), told.more.len()), (Code::SiteFatal, MESSAGE, 0));
    }
}
