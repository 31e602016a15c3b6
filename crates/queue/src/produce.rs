//! The producer's side: accepting tasks, looking at them, ending them.

use redis::{Value, from_redis_value};
use sha2::{Digest, Sha256};
use wpclone_task::{Event, Plan, Progress, SiteKey, TaskId};

use crate::record::{Fields, millis, stored_plan, unreadable};
use crate::{
    Cancelled, Enqueued, Filter, Found, NewTask, Page, Queue, QueueError, StoredEvent, TaskRecord, ms,
    scripts,
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
    pub async fn enqueue(&self, task: &NewTask) -> Result<Enqueued, QueueError> {
        let kind = task.request.kind();
        self.enqueue_as(task, &kind.plan(), task.request.sites(), kind.priority()).await
    }

    /// [`Queue::enqueue`] with a plan that no kind has yet.
    #[doc(hidden)]
    pub async fn enqueue_as(
        &self,
        task: &NewTask,
        plan: &Plan,
        mut sites: Vec<SiteKey>,
        priority: u8,
    ) -> Result<Enqueued, QueueError> {
        sites.sort();
        sites.dedup();
        let json = |value: Result<String, _>| value.map_err(|_: serde_json::Error| unreadable("request"));
        let request = json(serde_json::to_string(&task.request))?;
        let traceparent = task.traceparent.as_deref().unwrap_or_default();
        if request.len() + task.sealed_secrets.len() + task.owner.len() + traceparent.len() > REQUEST {
            return Err(QueueError::TooLarge("the request"));
        }
        let (key, fingerprints) = match &task.idempotency {
            Some(i) => (dedup_hash(&task.owner, &i.key), i.fingerprints.as_slice()),
            None => (String::new(), &[][..]),
        };
        let mut call = self.write(&scripts::ENQUEUE);
        call.arg(task.id.to_string()).arg(task.request.kind().as_str()).arg(&task.owner).arg(request);
        call.arg(json(serde_json::to_string(&stored_plan(plan)))?).arg(json(serde_json::to_string(&sites))?);
        call.arg(priority).arg(traceparent).arg(&task.sealed_secrets);
        call.arg(key).arg(ms(self.options().keep_idempotency)).arg(fingerprints);
        let answer: Vec<String> = self.store().run(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["new"] => Ok(Enqueued::New(task.id)),
            ["same", id] => {
                let id = id.parse().map_err(|_| unreadable("id"))?;
                Ok(if id == task.id { Enqueued::New(id) } else { Enqueued::Same(id) })
            }
            ["mismatch"] => Ok(Enqueued::Mismatch),
            _ => Err(unexpected(&answer)),
        }
    }

    /// A task.
    ///
    /// # Errors
    /// Redis does not answer, or the record is not ours to read.
    pub async fn get(&self, id: TaskId) -> Result<Found, QueueError> {
        let store = self.store();
        let (fields, sealed, gone): (
            std::collections::HashMap<String, String>,
            Option<String>,
            Option<String>,
        ) = redis::pipe()
            .hgetall(store.key(&format!("task:{id}")))
            .get(store.key(&format!("rsecret:{id}")))
            .zscore(store.key("gone"), id.to_string())
            .query_async(&mut store.connection().await?)
            .await?;
        Ok(match (fields.is_empty(), gone) {
            (false, _) => Found::Task(Box::new(Fields(fields).task(id, sealed)?)),
            (true, Some(_)) => Found::Gone,
            (true, None) => Found::Unknown,
        })
    }

    /// A page of at most `limit` (capped at 100) tasks, newest first. It may be shorter and have a next one: a
    /// filter looks at a bounded number of tasks.
    ///
    /// # Errors
    /// A bad cursor, or Redis.
    pub async fn list(&self, filter: &Filter, cursor: Option<&str>, limit: u32) -> Result<Page, QueueError> {
        if cursor.is_some_and(|c| c.parse::<TaskId>().is_err()) {
            return Err(QueueError::BadCursor);
        }
        let mut call = self.read(&scripts::LIST);
        // An owner without a name is one all the same, and does not see everybody's.
        call.arg(filter.owner.as_ref().map_or(String::new(), |owner| format!("={owner}")));
        call.arg(filter.state.map_or("", |s| s.as_str())).arg(filter.kind.map_or("", |k| k.as_str()));
        call.arg(filter.search.as_deref().unwrap_or_default().to_lowercase());
        call.arg(cursor.unwrap_or_default()).arg(limit.clamp(1, LIMIT)).arg(LOOK).arg(PAGE);
        let mut answer: Vec<Value> = self.store().run(&call).await?;
        let next: String = from_redis_value(answer.remove(0)).map_err(redis::RedisError::from)?;
        let tasks = answer.into_iter().filter_map(listed).collect();
        Ok(Page { tasks, next: (!next.is_empty()).then_some(next) })
    }

    /// Ends a task for its owner.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn cancel(&self, id: TaskId) -> Result<Cancelled, QueueError> {
        let mut call = self.write(&scripts::CANCEL);
        call.arg(id.to_string());
        let answer: Vec<String> = self.store().run(&call).await?;
        match answer.first().map(String::as_str) {
            Some("now") => Ok(Cancelled::Now),
            Some("requested") => Ok(Cancelled::Requested),
            Some("finished") => Ok(Cancelled::Finished),
            Some("unknown") => Ok(Cancelled::Unknown),
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
        let from = match after {
            Some(after) if is_event_id(after) => format!("({after}"),
            Some(_) => return Err(QueueError::BadCursor),
            None => "-".to_owned(),
        };
        let store = self.store();
        let entries: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
            .arg(store.key(&format!("events:{id}")))
            .arg(from)
            .arg("+")
            .arg("COUNT")
            .arg(limit.clamp(1, LIMIT))
            .query_async(&mut store.connection().await?)
            .await?;
        entries.into_iter().map(|(id, fields)| Ok(StoredEvent { event: event(&id, &fields)?, id })).collect()
    }
}

/// A task of a page. One that cannot be read is left out, so that it hides no other.
fn listed(entry: Value) -> Option<TaskRecord> {
    let (id, sealed, fields): (String, String, _) = from_redis_value(entry).ok()?;
    let task = id
        .parse()
        .map_err(|_| unreadable("id"))
        .and_then(|id| Fields(fields).task(id, (!sealed.is_empty()).then_some(sealed)));
    task.inspect_err(|error| tracing::warn!(task.id = %id, %error, "a task is left out of a list")).ok()
}

fn event(id: &str, fields: &[(String, String)]) -> Result<Event, QueueError> {
    let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let bad = || unreadable("event");
    Ok(Event {
        at: millis(id.split('-').next().unwrap_or_default())?,
        state: field("s").and_then(|s| s.parse().ok()).ok_or_else(bad)?,
        step: field("i").map(str::to_owned),
        stage: field("g").map(|g| g.parse().map_err(|_| bad())).transpose()?,
        progress: Progress {
            percent: field("p").and_then(|p| p.parse().ok()).ok_or_else(bad)?,
            message: field("m").unwrap_or_default().to_owned(),
        },
        code: field("c").map(str::to_owned),
    })
}

/// `<ms>-<n>`, as streams number their entries; not the last that there can be, after which Redis refuses to look.
fn is_event_id(text: &str) -> bool {
    let number = |part: &str| part.parse::<u64>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
    let id = text.split_once('-').and_then(|(ms, n)| Some((number(ms)?, number(n)?)));
    id.is_some_and(|id| id != (u64::MAX, u64::MAX))
}

/// What an idempotency key is kept under: callers' keys never meet.
fn dedup_hash(owner: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((owner.len() as u64).to_be_bytes());
    hash.update(owner);
    hash.update(key);
    hex::encode(hash.finalize())
}

/// An answer that no script of ours gives.
pub(crate) fn unexpected(answer: &[String]) -> QueueError {
    QueueError::Unexpected(answer.first().map_or("nothing", String::as_str).chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_two_numbers() {
        for (text, good) in [
            ("1-0", true),
            ("1", false),
            ("-", false),
            ("(1-1", false),
            ("1-1-1", false),
            ("99999999999999999999-1", false),
        ] {
            assert_eq!(is_event_id(text), good, "{text}");
        }
    }

    #[test]
    fn owners_do_not_share_idempotency_keys() {
        assert_ne!(dedup_hash("ab", "c"), dedup_hash("a", "bc"));
        assert_eq!(dedup_hash("a", "b"), dedup_hash("a", "b"));
    }
}
