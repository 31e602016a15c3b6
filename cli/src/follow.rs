//! Follows a task to its end: by its event stream, or by polling where streams do not work.

use std::time::Duration;

use jiff::Timestamp;
use wpclone_task::{Code, Event, State, TaskId};

use crate::client::{Api, Task};
use crate::failure::Failure;
use crate::retry::long_outage;

/// Polling interval where there is no event stream.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Receives a task's events.
pub(crate) trait EventListener {
    /// Handles an event.
    ///
    /// # Errors
    /// Following stops.
    fn event(&mut self, event: &Event) -> Result<(), Failure>;
    /// The connection was lost or restored.
    fn connected(&mut self, connected: bool);
    /// Polling begins: from now on events describe the current state only.
    fn polling(&mut self) {}
}

/// How reading an event stream ended.
enum StreamEnd {
    /// The task has finished.
    TaskFinished(Box<Task>),
    /// The stream ended before the task, after at least one event.
    AfterEvents,
    /// The stream ended without an event, or could not be opened.
    WithoutEvents,
    /// Event streams are not available here.
    Unsupported,
}

/// Follows a task to its end.
///
/// # Errors
/// The API cannot be reached, or rejects the request.
pub(crate) async fn follow(
    api: &Api,
    id: TaskId,
    listener: &mut impl EventListener,
) -> Result<Task, Failure> {
    let mut position = StreamPosition::default();
    let mut delays = long_outage().delays();
    loop {
        match read_events(api, id, &mut position, listener).await? {
            StreamEnd::Unsupported => break,
            StreamEnd::TaskFinished(task) => return Ok(*task),
            end => {
                listener.connected(false);
                if matches!(end, StreamEnd::AfterEvents) {
                    delays = long_outage().delays();
                }
            }
        }
        // The task may have finished while disconnected, and its events may have been deleted since.
        let task = api.task(id, &long_outage()).await?;
        if task.view.state.is_final() {
            return Ok(task);
        }
        let Some(delay) = delays.next() else { break };
        tokio::time::sleep(delay).await;
    }
    poll(api, id, listener).await
}

/// Position in a task's events, across all its streams.
#[derive(Default)]
struct StreamPosition {
    /// Id of the last event received.
    last: Option<String>,
    /// Number of final events received. A replayed task has one from each earlier run.
    ends: u32,
}

async fn read_events(
    api: &Api,
    id: TaskId,
    position: &mut StreamPosition,
    listener: &mut impl EventListener,
) -> Result<StreamEnd, Failure> {
    let mut stream = match api.events(id, position.last.as_deref()).await {
        Ok(stream) => stream,
        // This token has reached its limit of streams.
        Err(failure) if failure.has_code(Code::TooManyStreams) => return Ok(StreamEnd::Unsupported),
        Err(failure) if failure.is_transient() => return Ok(StreamEnd::WithoutEvents),
        Err(_) => return Ok(StreamEnd::Unsupported),
    };
    let mut end = StreamEnd::WithoutEvents;
    while let Some(message) = stream.next().await {
        // A newer API may send messages that this version does not know.
        let Ok(event) = serde_json::from_str::<Event>(&message.data) else {
            continue;
        };
        position.last = message.id.or(position.last.take());
        listener.connected(true);
        listener.event(&event)?;
        if event.state.is_final() {
            position.ends += 1;
            let task = api.task(id, &long_outage()).await?;
            // Otherwise the event is the end of an earlier run, and the stream continues.
            if task.view.state.is_final() && position.ends > task.view.replays {
                return Ok(StreamEnd::TaskFinished(Box::new(task)));
            }
        }
        end = StreamEnd::AfterEvents;
    }
    Ok(end)
}

async fn poll(api: &Api, id: TaskId, listener: &mut impl EventListener) -> Result<Task, Failure> {
    listener.polling();
    loop {
        let task = api.task(id, &long_outage()).await?;
        listener.connected(true);
        listener.event(&event_of(&task))?;
        if task.view.state.is_final() {
            return Ok(task);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn event_of(task: &Task) -> Event {
    let running = task.view.steps.iter().find(|s| s.state == State::Running);
    Event {
        at: Timestamp::now(),
        state: task.view.state,
        step: running.map(|s| s.name.clone()),
        stage: running.map(|s| s.stage),
        progress: task.view.progress.clone(),
        code: task.view.problem.as_ref().map(|p| p.code.to_string()),
    }
}
