//! Following a task to its end: by its events, and by asking again and again where these do not come.

use std::time::Duration;

use jiff::Timestamp;
use wpclone_task::{Code, Event, State, TaskId};

use crate::client::{Api, Task};
use crate::failure::Failure;
use crate::patience::long_outage;

/// How often to ask where there are no events.
const POLL: Duration = Duration::from_secs(2);

/// Hears what happens to a task.
pub(crate) trait Listener {
    /// Something has happened.
    ///
    /// # Errors
    /// Nobody wants to hear more: the following ends.
    fn event(&mut self, event: &Event) -> Result<(), Failure>;
    /// The connection was lost, or is there again.
    fn connected(&mut self, connected: bool);
    /// From now on only the present is told: there are no events here.
    fn polling(&mut self) {}
}

enum Heard {
    /// The task has ended.
    End(Box<Task>),
    /// The stream stopped before; something had come.
    Something,
    /// The stream stopped, or did not begin this time.
    Nothing,
    /// There are no events to be had here.
    NoEvents,
}

/// Follows a task to its end.
///
/// # Errors
/// The API stays away, or turns us down.
pub(crate) async fn follow(api: &Api, id: TaskId, listener: &mut impl Listener) -> Result<Task, Failure> {
    let mut so_far = SoFar::default();
    let mut delays = long_outage().delays();
    loop {
        match listen(api, id, &mut so_far, listener).await? {
            Heard::NoEvents => break,
            Heard::End(task) => return Ok(*task),
            heard => {
                listener.connected(false);
                if matches!(heard, Heard::Something) {
                    delays = long_outage().delays();
                }
            }
        }
        // The end may have been said while nobody listened, and the events may be forgotten since.
        let task = api.task(id, &long_outage()).await?;
        if task.view.state.is_final() {
            return Ok(task);
        }
        let Some(delay) = delays.next() else { break };
        tokio::time::sleep(delay).await;
    }
    poll(api, id, listener).await
}

/// What was heard, over all streams.
#[derive(Default)]
struct SoFar {
    /// The id of the last event.
    last: Option<String>,
    /// How often the task has ended. One that failed and was replayed has earlier ends.
    ends: u32,
}

async fn listen(
    api: &Api,
    id: TaskId,
    so_far: &mut SoFar,
    listener: &mut impl Listener,
) -> Result<Heard, Failure> {
    let mut stream = match api.events(id, so_far.last.as_deref()).await {
        Ok(stream) => stream,
        // Others of this token have them all.
        Err(failure) if failure.is(Code::TooManyStreams) => return Ok(Heard::NoEvents),
        Err(failure) if failure.passes() => return Ok(Heard::Nothing),
        Err(_) => return Ok(Heard::NoEvents),
    };
    let mut heard = Heard::Nothing;
    while let Some(message) = stream.next().await {
        // What is no event of a task may be one of a later API.
        let Ok(event) = serde_json::from_str::<Event>(&message.data) else {
            continue;
        };
        so_far.last = message.id.or(so_far.last.take());
        listener.connected(true);
        listener.event(&event)?;
        if event.state.is_final() {
            so_far.ends += 1;
            let task = api.task(id, &long_outage()).await?;
            // Else it was an end of before, and the stream goes on.
            if task.view.state.is_final() && so_far.ends > task.view.replays {
                return Ok(Heard::End(Box::new(task)));
            }
        }
        heard = Heard::Something;
    }
    Ok(heard)
}

async fn poll(api: &Api, id: TaskId, listener: &mut impl Listener) -> Result<Task, Failure> {
    listener.polling();
    loop {
        let task = api.task(id, &long_outage()).await?;
        listener.connected(true);
        listener.event(&event_of(&task))?;
        if task.view.state.is_final() {
            return Ok(task);
        }
        tokio::time::sleep(POLL).await;
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
