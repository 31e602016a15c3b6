//! Server-sent events: GET /tasks/{id}/events and GET /events.

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
use wpclone_http_server::Permit;
use wpclone_queue::{QueueError, Signal, StoredEvent, TaskLookup, TaskRecord};
use wpclone_task::{Code, Event, TaskId};

use crate::http::auth::{Caller, TaskUser};
use crate::http::error::ApiError;
use crate::state::{App, SharedApp};
use crate::tasks::find;
use crate::tasks::wait::TaskSignals;

/// How many events are read from Redis at once.
const BATCH_SIZE: u32 = 100;
/// Consecutive failures of Redis after which a stream ends; its client reconnects.
const MAX_FAILURES: u32 = 30;
/// Changes within this time are sent as one message.
const COALESCE_WINDOW: Duration = Duration::from_millis(250);
/// More changed tasks than this are sent as `all`.
const MAX_CHANGED_TASKS: usize = 50;

/// Follow a task (server-sent events)
///
/// Each message's data is an `Event` in JSON. `Last-Event-ID` resumes after a message. The first message of a new stream is
/// the current state, without an id. The stream ends with the task, and after half an hour: reconnect with
/// `Last-Event-ID`. 204 means that the task has ended and no further event follows. The stream of a replayed task
/// includes its earlier ends.
#[utoipa::path(
    get, path = "/tasks/{id}/events", operation_id = "follow_task", tag = "tasks",
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^((0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,8}))?$", description = "The id of the last message received"),
    ),
    responses(
        (status = 200, description = "A stream of messages", body = EventMessage, content_type = "text/event-stream"),
        (status = 204, description = "The task has ended, and no event follows that id"),
        crate::http::responses::TaskErrors,
        crate::http::responses::AccessErrors,
        crate::http::responses::LimitErrors,
        crate::http::responses::CommonErrors,
    )
)]
pub async fn of_task(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let signals = TaskSignals::subscribe(&app.queue, id.parse().unwrap_or_default());
    let task = find(&app, &caller, &id).await?;
    let mut stream = TaskStream {
        _permit: acquire_stream(&app, &caller)?,
        signals,
        id: task.id,
        after: last_event_id(&headers)?,
        pending: VecDeque::new(),
        done: false,
        failures: 0,
        app: app.clone(),
    };
    // Read before responding, so that an error has a status.
    stream.read_new().await?;
    if stream.done && stream.pending.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if stream.after.is_none() {
        stream.pending.push_back(current_state(task));
    }
    Ok(sse(&app, unfold(stream, TaskStream::next)))
}

/// A permit for one of the streams that a token may have open.
fn acquire_stream(app: &App, caller: &Caller) -> Result<Permit, ApiError> {
    app.event_streams.try_acquire(&caller.name, app.limits.streams_per_token).ok_or_else(|| {
        let detail = format!("This token has {} event streams open.", app.limits.streams_per_token);
        ApiError::new(Code::TooManyStreams, detail)
    })
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(id) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let id = id.to_str().ok().filter(|id| id.len() <= 64);
    id.map(|id| Some(id.to_owned()).filter(|id| !id.is_empty()))
        .ok_or_else(|| ApiError::new(Code::BadParameter, "Last-Event-ID was not issued by this API."))
}

/// The first message of a stream: a waiting task has no events yet. Without an id, so that a resumed stream starts at
/// the beginning.
fn current_state(task: TaskRecord) -> StoredEvent {
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
    _permit: Permit,
    app: SharedApp,
    signals: TaskSignals,
    id: TaskId,
    after: Option<String>,
    pending: VecDeque<StoredEvent>,
    done: bool,
    failures: u32,
}

impl TaskStream {
    /// Reads new events. The state is read first, so that the last event is among those read after it.
    async fn read_new(&mut self) -> Result<(), QueueError> {
        let found = self.app.queue.get(self.id).await?;
        let ended = !matches!(found, TaskLookup::Found(task) if !task.state.is_final());
        let batch = self.app.queue.events(self.id, self.after.as_deref(), BATCH_SIZE).await?;
        let complete = batch.len() < BATCH_SIZE as usize;
        if let Some(last) = batch.last() {
            self.after = Some(last.id.clone());
        }
        self.pending.extend(batch);
        self.done = ended && complete;
        Ok(())
    }

    async fn next(mut self) -> Option<(SseEvent, Self)> {
        loop {
            if let Some(StoredEvent { id, event }) = self.pending.pop_front() {
                let message = SseEvent::default().json_data(&event).ok()?;
                let event = if id.is_empty() { message } else { message.id(id) };
                return Some((event, self));
            }
            if self.done || self.failures > MAX_FAILURES {
                return None;
            }
            self.signals.changed(self.app.limits.poll_interval).await;
            self.failures = match self.read_new().await {
                Ok(()) => 0,
                Err(_) => self.failures + 1,
            };
        }
    }
}

/// A message of `GET /tasks/{id}/events`.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a server-sent event")]
pub struct EventMessage {
    /// The value of `Last-Event-ID` to resume after this message.
    id: Option<String>,
    /// An `Event` in JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// A message of `GET /events`.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a server-sent event")]
pub struct ChangeMessage {
    /// Always `change`.
    event: String,
    /// A `ChangeEvent` in JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The data of a message of `GET /events`.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChangeEvent {
    /// The ids of changed tasks that the caller may see.
    #[schema(value_type = Vec<String>)]
    pub tasks: BTreeSet<TaskId>,
    /// Whether other tasks may have changed too: reload everything.
    pub all: bool,
}

/// Follow all tasks (server-sent events)
///
/// Reports which of the caller's tasks changed: each message's data is a `ChangeEvent` in JSON. The stream cannot be
/// resumed: after a reconnect reload everything once.
#[utoipa::path(
    get, path = "/events", operation_id = "follow_all", tag = "tasks",
    responses(
        (status = 200, description = "A stream of messages", body = ChangeMessage, content_type = "text/event-stream"),
        crate::http::responses::AccessErrors,
        crate::http::responses::LimitErrors,
    )
)]
pub async fn of_all(State(app): State<SharedApp>, TaskUser(caller): TaskUser) -> Result<Response, ApiError> {
    let permit = acquire_stream(&app, &caller)?;
    let changes =
        ChangeStream { _permit: permit, signals: app.queue.subscribe_changes(), caller, initial_sent: false };
    Ok(sse(&app, unfold(changes, ChangeStream::next)))
}

struct ChangeStream {
    _permit: Permit,
    caller: Caller,
    signals: broadcast::Receiver<Signal>,
    initial_sent: bool,
}

impl ChangeStream {
    async fn next(mut self) -> Option<(SseEvent, Self)> {
        loop {
            let change = if self.initial_sent {
                self.collect().await?
            } else {
                ChangeEvent { all: true, ..ChangeEvent::default() }
            };
            self.initial_sent = true;
            // An operator also sees the queue, which every signal may have changed.
            if change.all || !change.tasks.is_empty() || self.caller.is_operator() {
                let event = SseEvent::default().event("change").json_data(&change).ok()?;
                return Some((event, self));
            }
        }
    }

    /// Waits for a signal, and merges those that follow shortly after it.
    async fn collect(&mut self) -> Option<ChangeEvent> {
        let mut change = ChangeEvent::default();
        let first = self.signals.recv().await;
        self.add(&mut change, first)?;
        let until = Instant::now() + COALESCE_WINDOW;
        while let Ok(signal) = timeout_at(until, self.signals.recv()).await {
            self.add(&mut change, signal)?;
        }
        if change.tasks.len() > MAX_CHANGED_TASKS {
            change = ChangeEvent { all: true, ..ChangeEvent::default() };
        }
        Some(change)
    }

    /// Adds a signal; `None` when no more signals can come.
    fn add(&self, change: &mut ChangeEvent, signal: Result<Signal, RecvError>) -> Option<()> {
        match signal {
            Ok(Signal::TaskChanged(id, owner))
                if self.caller.is_operator() || *owner == *self.caller.name =>
            {
                change.tasks.insert(id);
            }
            // A worker of an earlier version sends no owner.
            Ok(Signal::TaskChanged(_, owner)) => change.all |= owner.is_empty(),
            Ok(Signal::StageReady(_)) => {}
            Ok(Signal::Reconnected) | Err(RecvError::Lagged(_)) => change.all = true,
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }
}

/// An event stream with keep-alive comments. It ends with the program or at its maximum age.
fn sse(app: &SharedApp, events: impl Stream<Item = SseEvent> + Send + 'static) -> Response {
    let (shutdown, lifetime) = (app.shutdown.clone(), app.limits.stream_lifetime);
    let end = async move {
        tokio::select! { () = shutdown.cancelled() => {} () = sleep(lifetime) => {} }
    };
    let events = events.map(Ok::<_, Infallible>).take_until(Box::pin(end));
    let keep_alive = KeepAlive::new().interval(app.limits.keep_alive_interval).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // Otherwise nginx buffers events.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
