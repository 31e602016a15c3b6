//! The worker's side: claims and what becomes of them.

use std::time::Duration;

use redis::ScriptInvocation;
use wpclone_task::{Code, Problem, Progress, Stage};

use crate::produce::unexpected;
use crate::record::{millis, unreadable};
use crate::{Beat, Claim, Completed, Failed, Lease, Queue, QueueError, StepOutput, ms, scripts};

/// The most bytes that a result may have, its sealed part included.
const RESULT: usize = 32 << 10;
/// The most characters of a progress message.
const MESSAGE: usize = 500;
/// A site that wants to be left alone for longer than this gets the task ended: its lock would block others.
const LONGEST_RETRY_AFTER: f64 = 600.0;
/// How many unreadable tasks one claim puts aside before it gives up until the next.
const PUT_ASIDE: u32 = 20;

impl Queue {
    /// Takes the first step that is ready in one of these stages. Never blocks; [`Queue::signals`] tells when to
    /// look again.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn claim(&self, worker: &str, stages: &[Stage]) -> Result<Option<Claim>, QueueError> {
        for _ in 0..PUT_ASIDE {
            let mut call = self.write(&scripts::CLAIM);
            call.arg(worker).arg(ms(self.options().lease));
            call.arg(stages.iter().map(|s| s.as_str()).collect::<Vec<_>>());
            let answer: Vec<String> = self.store().run(&call).await?;
            match answer.first().map(String::as_str) {
                Some("none") => return Ok(None),
                Some("again") => {}
                Some("claimed") => match self.claimed(worker, &answer)? {
                    Ok(claim) => return Ok(Some(claim)),
                    Err(lease) => self.put_aside(&lease).await?,
                },
                _ => return Err(unexpected(&answer)),
            }
        }
        Ok(None)
    }

    /// Reads a claim; the lease alone when the task cannot be read.
    fn claimed(&self, worker: &str, answer: &[String]) -> Result<Result<Claim, Lease>, QueueError> {
        let [
            _,
            id,
            step,
            token,
            stage,
            name,
            waited,
            attempts,
            crashes,
            created,
            request,
            owner,
            trace,
            secrets,
        ] = answer
        else {
            return Err(unexpected(answer));
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| unreadable("claim"));
        let lease = Lease {
            task: id.parse().map_err(|_| unreadable("id"))?,
            step: step.parse().map_err(|_| unreadable("step"))?,
            token: number(token)?,
            worker: worker.to_owned(),
        };
        let full = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let claim = || {
            Some(Claim {
                lease: lease.clone(),
                lease_for: self.options().lease,
                step: name.clone(),
                stage: stage.parse().ok()?,
                request: serde_json::from_str(request).ok()?,
                sealed_secrets: full(secrets),
                owner: owner.clone(),
                traceparent: full(trace),
                attempts: attempts.parse().ok()?,
                crashes: crashes.parse().ok()?,
                created_at: millis(created).ok()?,
                waited: Duration::from_millis(number(waited).ok()?),
            })
        };
        Ok(claim().ok_or(lease))
    }

    /// Ends a task that this program cannot read, so that it blocks nobody.
    async fn put_aside(&self, lease: &Lease) -> Result<(), QueueError> {
        tracing::error!(task.id = %lease.task, "task `{}` cannot be read and is ended", lease.task);
        match self.fail_within(lease, &Self::unreadable_task(), 1).await {
            Ok(_) | Err(QueueError::LeaseLost) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// What a task ends with whose record cannot be read.
    pub(crate) fn unreadable_task() -> Problem {
        Problem::new(Code::WorkerFault, "The task's record cannot be read by this version of the program.")
    }

    /// Extends a lease and stores progress (an event when it changed).
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn heartbeat(&self, lease: &Lease, progress: Option<&Progress>) -> Result<Beat, QueueError> {
        let mut call = self.under(lease, &scripts::HEARTBEAT);
        call.arg(ms(self.options().lease));
        match progress {
            Some(p) => call.arg(p.percent.min(100)).arg(p.message.chars().take(MESSAGE).collect::<String>()),
            None => call.arg("").arg(""),
        };
        let answer = self.held(&call).await?;
        Ok(Beat { cancel: answer.get(1).is_some_and(|c| c == "1") })
    }

    /// Notes that the task has altered its target, or that it is again as it was. The note outlives the worker and
    /// its attempt: whatever problem the task ends with says so (`changed_target`).
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn changed(&self, lease: &Lease, changed: bool) -> Result<(), QueueError> {
        let mut call = self.under(lease, &scripts::CHANGED);
        call.arg(if changed { "1" } else { "0" });
        self.held(&call).await.map(drop)
    }

    /// A step went well: the next phase becomes ready, or the task ends.
    ///
    /// # Errors
    /// The lease is lost, too large a result, or Redis.
    pub async fn complete(&self, lease: &Lease, output: &StepOutput) -> Result<Completed, QueueError> {
        let result = serde_json::to_string(&output.result).map_err(|_| unreadable("result"))?;
        let sealed = output.sealed_result.as_deref().unwrap_or_default();
        if result.len() + sealed.len() > RESULT {
            return Err(QueueError::TooLarge("the result"));
        }
        let mut call = self.under(lease, &scripts::COMPLETE);
        call.arg(result).arg(sealed);
        let answer = self.held(&call).await?;
        match answer.first().map(String::as_str) {
            Some("advanced") => Ok(Completed::Advanced),
            Some("finished") => Ok(Completed::Finished),
            _ => Err(unexpected(&answer)),
        }
    }

    /// A step failed: it is tried again when its problem is worth it, else the task ends. `retry_after` (seconds)
    /// of the problem is honoured up to ten minutes; beyond, the task ends.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn fail(&self, lease: &Lease, problem: &Problem) -> Result<Failed, QueueError> {
        self.fail_within(lease, problem, problem.code.attempts(self.options().max_attempts)).await
    }

    async fn fail_within(
        &self,
        lease: &Lease,
        problem: &Problem,
        attempts: u32,
    ) -> Result<Failed, QueueError> {
        let retry_after = retry_after(problem);
        let attempts = if retry_after > LONGEST_RETRY_AFTER { 1 } else { attempts };
        let mut call = self.under(lease, &scripts::FAIL);
        call.arg(bounded(problem)?).arg(problem.code.as_str()).arg(problem.code.title()).arg(attempts);
        call.arg(ms(self.options().backoff_base)).arg(ms(self.options().backoff_cap)).arg(chance()?);
        call.arg(ms(Duration::from_secs_f64(retry_after.min(LONGEST_RETRY_AFTER))));
        let answer = self.held(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["retrying", ms] => {
                Ok(Failed::Retrying(Duration::from_millis(ms.parse().map_err(|_| unexpected(&answer))?)))
            }
            ["dead"] => Ok(Failed::Dead),
            ["cancelled"] => Ok(Failed::Cancelled),
            _ => Err(unexpected(&answer)),
        }
    }

    /// A step was stopped because its owner asked for the task's end.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn cancelled(&self, lease: &Lease) -> Result<(), QueueError> {
        self.held(&self.under(lease, &scripts::CANCELLED)).await.map(drop)
    }

    /// Gives a step back to the front of its queue, at no cost in attempts.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        self.held(&self.under(lease, &scripts::RELEASE)).await.map(drop)
    }

    /// Begins a call that only the holder of a lease may make.
    fn under<'a>(&self, lease: &Lease, script: &'a redis::Script) -> ScriptInvocation<'a> {
        let mut call = self.write(script);
        call.arg(lease.task.to_string()).arg(lease.step).arg(lease.token);
        call
    }

    async fn held(&self, call: &ScriptInvocation<'_>) -> Result<Vec<String>, QueueError> {
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
