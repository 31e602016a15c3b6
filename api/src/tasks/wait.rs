//! Waiting for a task to change.

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use wpclone_queue::{Queue, QueueError, Signal, TaskLookup, TaskRecord};
use wpclone_task::TaskId;

use crate::state::App;

/// Hears of the changes of one task. Make it before looking at the task, so that no change falls between.
pub struct TaskChanges {
    signals: broadcast::Receiver<Signal>,
    task: TaskId,
}

impl TaskChanges {
    /// Begins to listen.
    #[must_use]
    pub fn new(queue: &Queue, task: TaskId) -> Self {
        Self { signals: queue.subscribe_changes(), task }
    }

    /// Returns when the task may have changed, or after this time: signals can be lost.
    pub async fn changed(&mut self, within: Duration) {
        let heard = async {
            loop {
                match self.signals.recv().await {
                    Ok(Signal::TaskChanged(id, _)) if id != self.task => {}
                    Ok(Signal::StageReady(_)) => {}
                    Ok(Signal::TaskChanged(..) | Signal::Reconnected) | Err(RecvError::Lagged(_)) => return,
                    // Nobody signals any more: looking now and then is all that is left.
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(within, heard).await;
    }
}

/// Waits for a task's end, or until the time is over or the program is to end; gives the task as it then is.
///
/// # Errors
/// Redis does not answer.
pub async fn wait_for_end(
    app: &App,
    id: TaskId,
    longest: Duration,
) -> Result<Option<TaskRecord>, QueueError> {
    let mut follow = TaskChanges::new(&app.queue, id);
    let deadline = Instant::now() + longest;
    loop {
        let TaskLookup::Found(task) = app.queue.get(id).await? else {
            return Ok(None);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if task.state.is_final() || left.is_zero() || app.shutdown.is_cancelled() {
            return Ok(Some(*task));
        }
        tokio::select! {
            () = follow.changed(left.min(app.limits.poll_interval)) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}
