//! Tasks: accepting, reading, following and ending them.

pub mod accept;
pub mod artifacts;
pub mod events;
pub mod read;
pub mod replay;
pub mod view;
pub mod wait;

use wpclone_queue::{TaskLookup, TaskRecord};
use wpclone_task::{Code, TaskId};

use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::App;

/// When to ask again for an unfinished task, in seconds.
pub const ASK_AGAIN: &str = "2";

/// The task of this id that the caller may see.
///
/// # Errors
/// There is none, it is somebody else's (which looks the same), it is no longer kept, or Redis does not answer.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<TaskRecord, ApiError> {
    let unknown = || ApiError::new(Code::TaskNotFound, "No task of yours has this id.");
    let id: TaskId = id.parse().map_err(|_| unknown())?;
    tracing::Span::current().record("task.id", tracing::field::display(id));
    match app.queue.get(id).await? {
        TaskLookup::Found(task) if caller.sees(&task) => Ok(*task),
        TaskLookup::Found(_) | TaskLookup::NotFound => Err(unknown()),
        TaskLookup::Unreadable => Err(ApiError::internal("the task's record cannot be read by this version")),
        TaskLookup::Gone => {
            Err(ApiError::new(Code::TaskGone, "The task ended a while ago and is no longer kept."))
        }
    }
}
