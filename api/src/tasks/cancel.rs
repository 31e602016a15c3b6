//! Cancelling a task: POST /tasks/{id}/cancel.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use wpclone_queue::CancelOutcome;
use wpclone_task::{Code, Problem, State as TaskState, TaskId, TaskView};

use crate::http::auth::TaskUser;
use crate::http::error::ApiError;
use crate::http::responses::{AccessErrors, CommonErrors, TaskErrors};
use crate::state::SharedApp;
use crate::tasks::find;
use crate::tasks::view::{Secrets, view};

/// Cancel a task
///
/// A waiting task ends at once, a running one with its worker's next heartbeat. A repeat does no harm.
#[utoipa::path(
    post, path = "/tasks/{id}/cancel", operation_id = "cancel_task", tag = "tasks",
    params(("id" = TaskId, Path, description = "The task's id")),
    responses(
        (status = 202, description = "The task is being cancelled, or was cancelled before", body = TaskView),
        (status = 409, description = "The task had finished before", body = Problem, content_type = "application/problem+json"),
        TaskErrors,
        AccessErrors,
        CommonErrors,
    )
)]
pub async fn cancel(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let task = find(&app, &caller, &id).await?;
    let outcome = app.queue.cancel(task.id).await?;
    let task = find(&app, &caller, &id).await?;
    if outcome == CancelOutcome::AlreadyFinished && task.state != TaskState::Cancelled {
        return Err(ApiError::new(Code::TaskFinished, format!("The task has already {}.", task.state)));
    }
    tracing::info!(task.id = %task.id, "cancellation of the task was requested");
    let (view, _) = view(&app, &caller, task, Secrets::ForOwner).await?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}
