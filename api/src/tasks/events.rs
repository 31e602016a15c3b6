//! What happens, as it happens: server-sent events.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::stream::{Stream, unfold};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep, timeout_at};
use wpclone_queue::{QueueError, Signal, StoredEvent, TaskLookup, TaskRecord};
use wpclone_service::limiter::Permit;
use wpclone_task::{Code, Event, TaskId};

use crate::http::auth::{Caller, TaskUser};
use crate::http::error::ApiError;
use crate::state::{App, SharedApp};
use crate::tasks::find;
use crate::tasks::wait::TaskChanges;

/// How many events are read from Redis at once.
const BATCH: u32 = 100;
/// How often in a row Redis may fail before a stream ends; its client then comes back.
const MAX_FAILURES: u32 = 30;
/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(250);
/// More changed tasks than this are told as "everything".
const MAX_CHANGED: usize = 50;

/// Follow a task (server-sent events)
///
/// Each message's data is an `Event` in JSON. `Last-Event-ID` resumes after a message. A task that still waits is told
/// once as it is, without an id. The stream ends at the task's end, and now and then before it: come back with
/// `Last-Event-ID`. 204 says that the task has ended and nothing more will come. A task that failed and was replayed
/// tells its earlier ends too.
#[utoipa::path(
    get, path = "/tasks/{id}/events", operation_id = "follow_task", tag = "tasks",
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^((0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,8}))?$", description = "The id of the last message that was seen"),
    ),
    responses(
        (status = 200, description = "Messages", body = EventMessage, content_type = "text/event-stream"),
        (status = 204, description = "The task has ended, and there is nothing after that event"),
        crate::openapi::NoTask,
        crate::openapi::TurnedAway,
        crate::openapi::TooMany,
        crate::openapi::Failed,
    )
)]
pub async fn of_task(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let follow = TaskChanges::new(&app.queue, id.parse().unwrap_or_default());
    let task = find(&app, &caller, &id).await?;
    let mut stream = TaskStream {
        _held: place(&app, &caller)?,
        follow,
        id: task.id,
        after: last_event_id(&headers)?,
        pending: VecDeque::new(),
        done: false,
        failures: 0,
        app: app.clone(),
    };
    // The first look comes before the answer, so that its errors have a status.
    stream.look().await?;
    if stream.done && stream.pending.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if stream.after.is_none() {
        stream.pending.push_back(as_it_is(task));
    }
    Ok(sse(&app, unfold(stream, TaskStream::next)))
}

/// One of the streams that the caller may have open.
fn place(app: &App, caller: &Caller) -> Result<Permit, ApiError> {
    app.event_streams.try_acquire(&caller.name, app.limits.streams_per_token).ok_or_else(|| {
        let detail = format!("This token has {} event streams open here.", app.limits.streams_per_token);
        ApiError::new(Code::TooManyStreams, detail)
    })
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(id) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let id = id.to_str().ok().filter(|id| id.len() <= 64);
    id.map(|id| Some(id.to_owned()).filter(|id| !id.is_empty()))
        .ok_or_else(|| ApiError::new(Code::BadParameter, "Last-Event-ID is none that this API handed out."))
}

/// A task that waits has no events yet: it is told as it is, without an id, so that resuming begins at the beginning.
fn as_it_is(task: TaskRecord) -> StoredEvent {
    StoredEvent {
        id: String::new(),
        event: Event {
            at: task.created_at,
            state: task.state,
            step: None,
            stage: None,
            progress: task.progress,
            code: None,
        },
    }
}

struct TaskStream {
    _held: Permit,
    app: SharedApp,
    follow: TaskChanges,
    id: TaskId,
    after: Option<String>,
    pending: VecDeque<StoredEvent>,
    done: bool,
    failures: u32,
}

impl TaskStream {
    /// Reads what is new. The state first: the last event is then among those read.
    async fn look(&mut self) -> Result<(), QueueError> {
        let found = self.app.queue.get(self.id).await?;
        let ended = !matches!(found, TaskLookup::Found(task) if !task.state.is_final());
        let batch = self.app.queue.events(self.id, self.after.as_deref(), BATCH).await?;
        let whole = batch.len() < BATCH as usize;
        if let Some(last) = batch.last() {
            self.after = Some(last.id.clone());
        }
        self.pending.extend(batch);
        self.done = ended && whole;
        Ok(())
    }

    async fn next(mut self) -> Option<(SseEvent, Self)> {
        loop {
            if let Some(StoredEvent { id, event }) = self.pending.pop_front() {
                let told = SseEvent::default().json_data(&event).ok()?;
                let event = if id.is_empty() { told } else { told.id(id) };
                return Some((event, self));
            }
            if self.done || self.failures > MAX_FAILURES {
                return None;
            }
            self.follow.changed(self.app.limits.poll_interval).await;
            self.failures = match self.look().await {
                Ok(()) => 0,
                Err(_) => self.failures + 1,
            };
        }
    }
}

/// A message of `GET /tasks/{id}/events`. Documentation only.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a server-sent event")]
pub struct EventMessage {
    /// What to send as `Last-Event-ID` to go on after it.
    id: Option<String>,
    /// An `Event`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// A message of `GET /events`. Documentation only.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a server-sent event")]
pub struct ChangeMessage {
    /// `change`.
    event: String,
    /// A `Change`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// What `GET /events` tells.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Change {
    /// The tasks that changed and that the caller may see.
    #[schema(value_type = Vec<String>)]
    pub tasks: BTreeSet<TaskId>,
    /// Whether more may have changed than is told: look at everything.
    pub all: bool,
}

/// Follow everything (server-sent events)
///
/// Tells which of the caller's tasks changed: each message's data is a `Change` in JSON. It does not resume: after a reconnect look at everything once.
#[utoipa::path(
    get, path = "/events", operation_id = "follow_all", tag = "tasks",
    responses(
        (status = 200, description = "Messages", body = ChangeMessage, content_type = "text/event-stream"),
        crate::openapi::TurnedAway,
        crate::openapi::TooMany,
    )
)]
pub async fn of_all(State(app): State<SharedApp>, TaskUser(caller): TaskUser) -> Result<Response, ApiError> {
    let _held = place(&app, &caller)?;
    let changes = Changes { _held, signals: app.queue.subscribe_changes(), caller, greeted: false };
    Ok(sse(&app, unfold(changes, Changes::next)))
}

struct Changes {
    _held: Permit,
    caller: Caller,
    signals: broadcast::Receiver<Signal>,
    greeted: bool,
}

impl Changes {
    async fn next(mut self) -> Option<(SseEvent, Self)> {
        loop {
            let change =
                if self.greeted { self.gather().await? } else { Change { all: true, ..Change::default() } };
            self.greeted = true;
            // An operator sees the queue, where every signal is a change.
            if change.all || !change.tasks.is_empty() || self.caller.is_operator() {
                let event = SseEvent::default().event("change").json_data(&change).ok()?;
                return Some((event, self));
            }
        }
    }

    /// Waits for a signal, and takes those that come right after it along.
    async fn gather(&mut self) -> Option<Change> {
        let mut change = Change::default();
        let first = self.signals.recv().await;
        self.note(&mut change, first)?;
        let until = Instant::now() + GATHER;
        while let Ok(signal) = timeout_at(until, self.signals.recv()).await {
            self.note(&mut change, signal)?;
        }
        if change.tasks.len() > MAX_CHANGED {
            change = Change { all: true, ..Change::default() };
        }
        Some(change)
    }

    /// `None` when nobody signals any more.
    fn note(&self, change: &mut Change, signal: Result<Signal, RecvError>) -> Option<()> {
        match signal {
            Ok(Signal::TaskChanged(id, owner))
                if self.caller.is_operator() || *owner == *self.caller.name =>
            {
                change.tasks.insert(id);
            }
            // From a worker of before, which does not name the owner.
            Ok(Signal::TaskChanged(_, owner)) => change.all |= owner.is_empty(),
            Ok(Signal::StageReady(_)) => {}
            Ok(Signal::Reconnected) | Err(RecvError::Lagged(_)) => change.all = true,
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }
}

/// An event stream that says now and then that it lives, and ends with the program or when it is old.
fn sse(app: &SharedApp, events: impl Stream<Item = SseEvent> + Send + 'static) -> Response {
    let (ending, longest) = (app.shutdown.clone(), app.limits.stream_lifetime);
    let over = async move {
        tokio::select! { () = ending.cancelled() => {} () = sleep(longest) => {} }
    };
    let events = events.map(Ok::<_, Infallible>).take_until(Box::pin(over));
    let keep_alive = KeepAlive::new().interval(app.limits.keep_alive_interval).text("alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // nginx would hold events back to fill its buffer.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
