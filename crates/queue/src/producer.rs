//! The calls of a task's owner: enqueue, read, cancel, replay.

use std::time::Duration;

use redis::{Value, from_redis_value};
use sha2::{Digest, Sha256};
use wpclone_task::{Event, Plan, Progress, SiteKey, TaskId};

use crate::functions::Call;
use crate::record::{TaskSnapshot, body, millis, unreadable};
use crate::{
    CancelOutcome, EnqueueOutcome, LimitExceeded, NewTask, OwnerLimits, Queue, QueueError, ReplayOutcome,
    SiteLock, StoredEvent, TaskFilter, TaskLookup, TaskPage, TaskRecord, ms,
};

/// The most bytes of a request, its sealed secrets included.
const MAX_REQUEST: usize = 64 << 10;
/// The most tasks or events of one answer.
const MAX_LIMIT: u32 = 100;
/// How many tasks are examined for one page.
const MAX_EXAMINED: u32 = 500;
/// A page ends with the task that exceeds this many bytes.
const MAX_PAGE_BYTES: u32 = 1 << 20;

impl Queue {
    /// Accepts a task. Repeating the call with the same id has no further effect.
    ///
    /// # Errors
    /// The request is too large, or Redis failed; after a lost connection it is unknown whether the task was accepted.
    pub async fn enqueue(&self, task: &NewTask) -> Result<EnqueueOutcome, QueueError> {
        let NewTask { id, request, .. } = task;
        let read = request.read_site();
        let lock = |site: SiteKey| {
            let share_key = task.share_key.clone().filter(|_| read.as_ref() == Some(&site));
            SiteLock { site, share_key }
        };
        let locks = request.site_keys(*id).into_iter().map(lock);
        self.enqueue_with_plan(task, &request.plan(), locks, request.kind().priority()).await
    }

    /// [`Queue::enqueue`] with any plan, for tests.
    #[doc(hidden)]
    pub async fn enqueue_with_plan(
        &self,
        task: &NewTask,
        plan: &Plan,
        sites: impl IntoIterator<Item = impl Into<SiteLock>>,
        priority: u8,
    ) -> Result<EnqueueOutcome, QueueError> {
        let mut sites: Vec<SiteLock> = sites.into_iter().map(Into::into).collect();
        // A site that the task also changes is not shared: that lock comes first.
        sites.sort();
        sites.dedup_by(|later, first| later.site == first.site);
        let is_malformed =
            |lock: &SiteLock| lock.share_key.as_ref().is_some_and(|k| k.is_empty() || k.contains(['~', ' ']));
        if sites.iter().any(is_malformed) {
            return Err(QueueError::Unexpected("a share key must be one word without `~`".into()));
        }
        let (body, plan, sites) = body(task, plan, &sites)?;
        if body.len() > MAX_REQUEST {
            return Err(QueueError::TooLarge("the request"));
        }
        let (key, fingerprints) = match &task.idempotency {
            Some(i) => (idempotency_hash(&task.owner, &i.key), i.fingerprints.as_slice()),
            None => (String::new(), &[][..]),
        };
        let mut call = self.write_call("enqueue");
        call.arg(task.id.to_string()).arg(priority).arg(body).arg(&task.owner).arg(plan).arg(sites);
        call.arg(key).arg(ms(self.options().idempotency_retention));
        limits(&mut call, task.limits);
        call.arg(if task.shares_slots { "1" } else { "" }).arg(fingerprints);
        let answer: Vec<String> = self.store().run_idempotent(&call).await?;
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
    /// Redis does not respond, or its data has another layout.
    pub async fn get(&self, id: TaskId) -> Result<TaskLookup, QueueError> {
        let mut call = self.read_call("get");
        call.arg(id.to_string());
        let mut answer: Vec<Value> = self.store().run_idempotent(&call).await?;
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
            Some("not_found") => Ok(TaskLookup::NotFound),
            Some("unreadable") => Ok(TaskLookup::Unreadable),
            _ => Err(unexpected(&[])),
        }
    }

    /// A page of at most `limit` (capped at 100) tasks, newest first. A page that is shorter may have a next one: a bounded
    /// number of tasks is examined for the filter. Unreadable tasks are left out.
    ///
    /// # Errors
    /// The cursor is invalid, or Redis failed.
    pub async fn list(
        &self,
        filter: &TaskFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<TaskPage, QueueError> {
        if cursor.is_some_and(|c| c.parse::<TaskId>().is_err()) {
            return Err(QueueError::BadCursor);
        }
        let mut call = self.read_call("list");
        // The owner with an empty name is an owner too, and must not see all tasks.
        call.arg(filter.owner.as_ref().map_or(String::new(), |owner| format!("={owner}")));
        call.arg(filter.state.map_or("", |s| s.as_str())).arg(filter.kind.map_or("", |k| k.as_str()));
        call.arg(filter.search.as_deref().unwrap_or_default().to_lowercase());
        call.arg(cursor.unwrap_or_default())
            .arg(limit.clamp(1, MAX_LIMIT))
            .arg(MAX_EXAMINED)
            .arg(MAX_PAGE_BYTES);
        let mut answer: Vec<Value> = self.store().run_idempotent(&call).await?;
        let next: String = from_redis_value(answer.remove(0)).map_err(redis::RedisError::from)?;
        let tasks = answer.into_iter().filter_map(listed).collect();
        Ok(TaskPage { tasks, next: (!next.is_empty()).then_some(next) })
    }

    /// Cancels a task.
    ///
    /// # Errors
    /// Redis failed, or the task's record cannot be read by this version.
    pub async fn cancel(&self, id: TaskId) -> Result<CancelOutcome, QueueError> {
        let mut call = self.write_call("cancel");
        call.arg(id.to_string());
        let answer: Vec<String> = self.store().run_idempotent(&call).await?;
        match answer.first().map(String::as_str) {
            Some("cancelled") => Ok(CancelOutcome::Cancelled),
            Some("requested") => Ok(CancelOutcome::Requested),
            Some("finished") => Ok(CancelOutcome::AlreadyFinished),
            Some("unreadable") => Err(QueueError::Unreadable),
            Some("not_found") => Ok(CancelOutcome::NotFound),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Queues a failed task again, from the phase in which it failed. `sealed_secrets` replace those of its request; they may
    /// be omitted while [`TaskRecord::secrets_kept`].
    ///
    /// # Errors
    /// The secrets are too large, Redis failed, or the task's record cannot be read by this version.
    pub async fn replay(
        &self,
        id: TaskId,
        sealed_secrets: Option<&str>,
        limits_of_owner: OwnerLimits,
    ) -> Result<ReplayOutcome, QueueError> {
        let secrets = sealed_secrets.unwrap_or_default();
        if secrets.len() > MAX_REQUEST {
            return Err(QueueError::TooLarge("the secrets"));
        }
        if secrets.contains('\n') {
            return Err(QueueError::Unexpected("sealed secrets must not contain a line break".into()));
        }
        let mut call = self.write_call("replay");
        call.arg(id.to_string()).arg(secrets);
        limits(&mut call, limits_of_owner);
        let answer: Vec<String> = self.store().run(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["queued"] => Ok(ReplayOutcome::Queued),
            ["secrets_gone"] => Ok(ReplayOutcome::SecretsGone),
            ["state", state] => Ok(ReplayOutcome::NotFailed(state.parse().map_err(|_| unreadable("state"))?)),
            ["limited", which, ms] => Ok(ReplayOutcome::Limited(limited(which, ms)?)),
            ["gone"] => Ok(ReplayOutcome::Gone),
            ["unreadable"] => Err(QueueError::Unreadable),
            ["not_found"] => Ok(ReplayOutcome::NotFound),
            _ => Err(unexpected(&answer)),
        }
    }

    /// A task's events after this id (exclusive), oldest first, at most `limit` (capped at 100).
    ///
    /// # Errors
    /// The id is invalid, or Redis failed.
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
        let mut call = self.read_call("events");
        call.arg(id.to_string()).arg(after).arg(limit.clamp(1, MAX_LIMIT));
        let entries: Vec<String> = self.store().run_idempotent(&call).await?;
        entries.iter().map(|entry| event(entry)).collect()
    }
}

/// Adds the limits as functions take them.
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

/// A task of a page; `None` when it cannot be read.
fn listed(entry: Value) -> Option<TaskRecord> {
    let snapshot = TaskSnapshot::read(entry)
        .inspect_err(|error| tracing::warn!(%error, "a task is left out of a list"))
        .ok()?;
    let id = snapshot.id.clone();
    snapshot
        .task()
        .inspect_err(|error| tracing::warn!(task.id = %id, %error, "a task is left out of a list"))
        .ok()
}

/// An event as task.lua writes it: `<ms>-<number> state percent step stage code message`, separated by tabs.
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

/// The number of an event's id (`<ms>-<number>`). The first of a task is 1.
fn event_number(text: &str) -> Option<u64> {
    let number = |part: &str| part.parse::<u64>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
    let (ms, n) = text.split_once('-')?;
    number(ms)?;
    number(n).filter(|n| *n <= u64::from(u32::MAX))
}

/// The key of an idempotency key: those of different owners never collide.
fn idempotency_hash(owner: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((owner.len() as u64).to_be_bytes());
    hash.update(owner);
    hash.update(key);
    hex::encode(hash.finalize())
}

/// The error for an answer that none of our functions gives.
pub(crate) fn unexpected(answer: &[String]) -> QueueError {
    QueueError::Unexpected(answer.first().map_or("nothing", String::as_str).chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_consists_of_two_numbers() {
        assert_eq!(event_number("1-7"), Some(7));
        for bad in ["1", "-", "(1-1", "1-1-1", "99999999999999999999-1", "1-99999999999", "1-+1"] {
            assert_eq!(event_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn owners_do_not_share_idempotency_keys() {
        assert_ne!(idempotency_hash("ab", "c"), idempotency_hash("a", "bc"));
        assert_eq!(idempotency_hash("a", "b"), idempotency_hash("a", "b"));
    }
}
