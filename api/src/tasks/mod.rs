//! Tasks: starting, reading, following, cancelling and replaying them.

pub mod artifacts;
pub mod cancel;
pub mod events;
pub mod read;
pub mod replay;
pub mod submit;
pub mod submit_request;
pub mod view;
pub mod wait;
pub mod waits;

use wpclone_queue::{TaskLookup, TaskRecord};
use wpclone_task::{Code, TaskId};

use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::App;

/// `Retry-After` of an unfinished task, in seconds.
pub const POLL_AFTER_SECONDS: &str = "2";

/// The task of this id that the caller may see.
///
/// # Errors
/// There is none or it is another owner's (both are 404), it is no longer kept, or Redis does not respond.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<TaskRecord, ApiError> {
    let unknown = || ApiError::new(Code::TaskNotFound, "You have no task with this id.");
    let id: TaskId = id.parse().map_err(|_| unknown())?;
    tracing::Span::current().record("task.id", tracing::field::display(id));
    match app.queue.get(id).await? {
        TaskLookup::Found(task) if caller.can_see(&task) => Ok(*task),
        TaskLookup::Found(_) | TaskLookup::NotFound => Err(unknown()),
        TaskLookup::Unreadable => Err(ApiError::internal("the task's record cannot be read by this version")),
        TaskLookup::Gone => {
            Err(ApiError::new(Code::TaskGone, "The task ended a while ago and is no longer kept."))
        }
    }
}
