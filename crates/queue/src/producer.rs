//! The producer's side: accepting tasks, looking at them, ending them.

use std::time::Duration;

use redis::{Value, from_redis_value};
use sha2::{Digest, Sha256};
use wpclone_task::{Event, Plan, Progress, SiteKey, TaskId};

use crate::functions::Call;
use crate::record::{TaskSnapshot, body, millis, unreadable};
use crate::{
    CancelOutcome, EnqueueOutcome, LimitExceeded, NewTask, OwnerLimits, Queue, QueueError, ReplayOutcome,
    StoredEvent, TaskFilter, TaskLookup, TaskPage, TaskRecord, ms,
};

/// The most bytes that a request may have, its sealed secrets included.
const REQUEST: usize = 64 << 10;
/// The most tasks or events of one answer.
const LIMIT: u32 = 100;
/// How many tasks a page looks at for those that its filter wants.
const LOOK: u32 = 500;
/// How many bytes of tasks a page has, after which it ends with the next.
const PAGE: u32 = 1 << 20;

impl Queue {
    /// Accepts a task. Asking again with the same id does no harm.
    ///
    /// # Errors
    /// Too large a request, or Redis: whether it was accepted is then unknown unless it refused.
    pub async fn enqueue(&self, task: &NewTask) -> Result<EnqueueOutcome, QueueError> {
        let NewTask { id, request, .. } = task;
        self.enqueue_with_plan(task, &request.plan(), request.site_keys(*id), request.kind().priority()).await
    }

    /// [`Queue::enqueue`] with a plan that no kind has yet.
    #[doc(hidden)]
    pub async fn enqueue_with_plan(
        &self,
        task: &NewTask,
        plan: &Plan,
        mut sites: Vec<SiteKey>,
        priority: u8,
    ) -> Result<EnqueueOutcome, QueueError> {
        sites.sort();
        sites.dedup();
        let (body, plan, sites) = body(task, plan, &sites)?;
        if body.len() > REQUEST {
            return Err(QueueError::TooLarge("the request"));
        }
        let (key, fingerprints) = match &task.idempotency {
            Some(i) => (dedup_hash(&task.owner, &i.key), i.fingerprints.as_slice()),
            None => (String::new(), &[][..]),
        };
        let mut call = self.write("enqueue");
        call.arg(task.id.to_string()).arg(priority).arg(body).arg(&task.owner).arg(plan).arg(sites);
        call.arg(key).arg(ms(self.options().idempotency_retention));
        limits(&mut call, task.limits);
        call.arg(fingerprints);
        let answer: Vec<String> = self.store().run_again(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["new"] => Ok(EnqueueOutcome::Accepted(task.id)),
            ["same", id] => {
                let id = id.parse().map_err(|_| unreadable("id"))?;
                Ok(if id == task.id { EnqueueOutcome::Accepted(id) } else { EnqueueOutcome::Duplicate(id) })
            }
            ["mismatch"] => Ok(EnqueueOutcome::FingerprintMismatch),
            ["limited", which, ms] => Ok(EnqueueOutcome::Limited(limited(which, ms)?)),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Looks up a task.
    ///
    /// # Errors
    /// Redis does not answer, or its data has another layout.
    pub async fn get(&self, id: TaskId) -> Result<TaskLookup, QueueError> {
        let mut call = self.read("get");
        call.arg(id.to_string());
        let mut answer: Vec<Value> = self.store().run_again(&call).await?;
        let what = answer.drain(..answer.len().min(1)).next();
        match what.and_then(|what| from_redis_value::<String>(what).ok()).as_deref() {
            Some("task") => Ok(match TaskSnapshot::read(Value::Array(answer)).and_then(TaskSnapshot::task) {
                Ok(task) => TaskLookup::Found(Box::new(task)),
                Err(error) => {
                    tracing::warn!(task.id = %id, %error, "a task's record cannot be read");
                    TaskLookup::Unreadable
                }
            }),
            Some("gone") => Ok(TaskLookup::Gone),
            Some("unknown") => Ok(TaskLookup::NotFound),
            _ => Err(unexpected(&[])),
        }
    }

    /// A page of at most `limit` (capped at 100) tasks, newest first. It may be shorter and have a next one: a
    /// filter looks at a bounded number of tasks.
    ///
    /// # Errors
    /// A bad cursor, or Redis.
    pub async fn list(
        &self,
        filter: &TaskFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<TaskPage, QueueError> {
        if cursor.is_some_and(|c| c.parse::<TaskId>().is_err()) {
            return Err(QueueError::BadCursor);
        }
        let mut call = self.read("list");
        // An owner without a name is one all the same, and does not see everybody's.
        call.arg(filter.owner.as_ref().map_or(String::new(), |owner| format!("={owner}")));
        call.arg(filter.state.map_or("", |s| s.as_str())).arg(filter.kind.map_or("", |k| k.as_str()));
        call.arg(filter.search.as_deref().unwrap_or_default().to_lowercase());
        call.arg(cursor.unwrap_or_default()).arg(limit.clamp(1, LIMIT)).arg(LOOK).arg(PAGE);
        let mut answer: Vec<Value> = self.store().run_again(&call).await?;
        let next: String = from_redis_value(answer.remove(0)).map_err(redis::RedisError::from)?;
        let tasks = answer.into_iter().filter_map(listed).collect();
        Ok(TaskPage { tasks, next: (!next.is_empty()).then_some(next) })
    }

    /// Ends a task for its owner.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn cancel(&self, id: TaskId) -> Result<CancelOutcome, QueueError> {
        let mut call = self.write("cancel");
        call.arg(id.to_string());
        let answer: Vec<String> = self.store().run_again(&call).await?;
        match answer.first().map(String::as_str) {
            Some("now") => Ok(CancelOutcome::Cancelled),
            Some("requested") => Ok(CancelOutcome::Requested),
            Some("finished") => Ok(CancelOutcome::AlreadyFinished),
            Some("unknown") => Ok(CancelOutcome::NotFound),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Queues a failed task again, from the phase in which it failed. `sealed_secrets` replace those of its request;
    /// they may be left out while [`TaskRecord::secrets_kept`].
    ///
    /// # Errors
    /// Too large secrets, or Redis.
    pub async fn replay(
        &self,
        id: TaskId,
        sealed_secrets: Option<&str>,
        limits_of_owner: OwnerLimits,
    ) -> Result<ReplayOutcome, QueueError> {
        let secrets = sealed_secrets.unwrap_or_default();
        if secrets.len() > REQUEST {
            return Err(QueueError::TooLarge("the secrets"));
        }
        if secrets.contains('\n') {
            return Err(QueueError::Unexpected("sealed secrets have no line break".into()));
        }
        let mut call = self.write("replay");
        call.arg(id.to_string()).arg(secrets);
        limits(&mut call, limits_of_owner);
        let answer: Vec<String> = self.store().run(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["queued"] => Ok(ReplayOutcome::Queued),
            ["secrets_gone"] => Ok(ReplayOutcome::SecretsGone),
            ["state", state] => Ok(ReplayOutcome::NotFailed(state.parse().map_err(|_| unreadable("state"))?)),
            ["limited", which, ms] => Ok(ReplayOutcome::Limited(limited(which, ms)?)),
            ["gone"] => Ok(ReplayOutcome::Gone),
            ["unknown"] => Ok(ReplayOutcome::NotFound),
            _ => Err(unexpected(&answer)),
        }
    }

    /// A task's events after this id (exclusive), oldest first, at most `limit` (capped at 100).
    ///
    /// # Errors
    /// A bad id, or Redis.
    pub async fn events(
        &self,
        id: TaskId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, QueueError> {
        let after = match after {
            Some(after) => event_number(after).ok_or(QueueError::BadCursor)?,
            None => 0,
        };
        let mut call = self.read("events");
        call.arg(id.to_string()).arg(after).arg(limit.clamp(1, LIMIT));
        let entries: Vec<String> = self.store().run_again(&call).await?;
        entries.iter().map(|entry| event(entry)).collect()
    }
}

/// The limits as functions take them.
fn limits(call: &mut Call, limits: OwnerLimits) {
    for limit in [limits.per_minute, limits.concurrent] {
        call.arg(limit.map_or(String::new(), |n| n.to_string()));
    }
}

fn limited(which: &str, ms: &str) -> Result<LimitExceeded, QueueError> {
    match (which, ms.parse()) {
        ("rate", Ok(ms)) => Ok(LimitExceeded::Rate(Duration::from_millis(ms))),
        ("concurrent", Ok(_)) => Ok(LimitExceeded::Concurrency),
        _ => Err(unreadable("limit")),
    }
}

/// A task of a page. One that cannot be read is left out, so that it hides no other.
fn listed(entry: Value) -> Option<TaskRecord> {
    let told = TaskSnapshot::read(entry)
        .inspect_err(|error| tracing::warn!(%error, "a task is left out of a list"))
        .ok()?;
    let id = told.id.clone();
    told.task()
        .inspect_err(|error| tracing::warn!(task.id = %id, %error, "a task is left out of a list"))
        .ok()
}

/// An event as task.lua writes it: `<ms>-<number> state percent step stage code message`, with tabs.
fn event(entry: &str) -> Result<StoredEvent, QueueError> {
    let mut parts = entry.splitn(7, '\t');
    let mut next = || parts.next().ok_or_else(|| unreadable("event"));
    let id = next()?.to_owned();
    let bad = || unreadable("event");
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let at = millis(id.split('-').next().unwrap_or_default())?;
    let state = next()?.parse().map_err(|_| bad())?;
    let percent = next()?.parse().map_err(|_| bad())?;
    let step = given(next()?);
    let stage = given(next()?).map(|g| g.parse().map_err(|_| bad())).transpose()?;
    let code = given(next()?);
    let progress = Progress { percent, message: next()?.to_owned() };
    Ok(StoredEvent { event: Event { at, state, step, stage, progress, code }, id })
}

/// The number of an event's id (`<ms>-<number>`): a task's first is 1.
fn event_number(text: &str) -> Option<u64> {
    let number = |part: &str| part.parse::<u64>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
    let (ms, n) = text.split_once('-')?;
    number(ms)?;
    number(n).filter(|n| *n <= u64::from(u32::MAX))
}

/// What an idempotency key is kept under: callers' keys never meet.
fn dedup_hash(owner: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((owner.len() as u64).to_be_bytes());
    hash.update(owner);
    hash.update(key);
    hex::encode(hash.finalize())
}

/// An answer that no function of ours gives.
pub(crate) fn unexpected(answer: &[String]) -> QueueError {
    QueueError::Unexpected(answer.first().map_or("nothing", String::as_str).chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_two_numbers() {
        assert_eq!(event_number("1-7"), Some(7));
        for bad in ["1", "-", "(1-1", "1-1-1", "99999999999999999999-1", "1-99999999999", "1-+1"] {
            assert_eq!(event_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn owners_do_not_share_idempotency_keys() {
        assert_ne!(dedup_hash("ab", "c"), dedup_hash("a", "bc"));
        assert_eq!(dedup_hash("a", "b"), dedup_hash("a", "b"));
    }
}
