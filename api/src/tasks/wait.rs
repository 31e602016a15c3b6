//! Waiting for a task to change or end.

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use wpclone_queue::{Queue, QueueError, Signal, TaskLookup, TaskRecord};
use wpclone_task::TaskId;

use crate::state::App;

/// The change signals of one task. Subscribe before reading the task, so that no change is missed.
pub struct TaskSignals {
    signals: broadcast::Receiver<Signal>,
    task: TaskId,
}

impl TaskSignals {
    /// Subscribes.
    #[must_use]
    pub fn subscribe(queue: &Queue, task: TaskId) -> Self {
        Self { signals: queue.subscribe_changes(), task }
    }

    /// Returns when the task may have changed, or after this time, because signals can be lost.
    pub async fn changed(&mut self, timeout: Duration) {
        let signal = async {
            loop {
                match self.signals.recv().await {
                    Ok(Signal::TaskChanged(id, _)) if id != self.task => {}
                    Ok(Signal::StageReady(_)) => {}
                    Ok(Signal::TaskChanged(..) | Signal::Reconnected) | Err(RecvError::Lagged(_)) => return,
                    // No more signals: only the timeout is left.
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(timeout, signal).await;
    }
}

/// Waits for a task's end, the timeout or the program's shutdown, and returns the task as it is then.
///
/// # Errors
/// Redis does not respond.
pub async fn wait_for_end(
    app: &App,
    id: TaskId,
    timeout: Duration,
) -> Result<Option<TaskRecord>, QueueError> {
    let mut signals = TaskSignals::subscribe(&app.queue, id);
    let deadline = Instant::now() + timeout;
    loop {
        let TaskLookup::Found(task) = app.queue.get(id).await? else {
            return Ok(None);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if task.state.is_final() || left.is_zero() || app.shutdown.is_cancelled() {
            return Ok(Some(*task));
        }
        tokio::select! {
            () = signals.changed(left.min(app.limits.poll_interval)) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}
