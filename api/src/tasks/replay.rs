//! Replaying a failed task: POST /tasks/{id}/replay.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;
use wpclone_queue::{OwnerLimits, QueueError, ReplayOutcome, TaskLookup, TaskRecord};
use wpclone_service::sealed_task::seal_request;
use wpclone_task::{Code, Problem, TaskId};

use crate::http::auth::{Caller, TaskUser};
use crate::http::body::OptionalJsonBody;
use crate::http::error::ApiError;
use crate::http::headers::Prefer;
use crate::state::{App, SharedApp};
use crate::tasks::find;
use crate::tasks::submit::{apply_prefer_wait, respond, wait_and_respond};
use crate::tasks::submit_request::SubmitResponses;
use crate::tasks::view::newly_replayed;
use wpclone_task::openapi::ReplayBody;

/// Replay a failed task
///
/// Queues the same task again; it continues with the step that failed, with its attempts reset. No body is needed while
/// the request's secrets are stored, which is a day; later the body must hold them (`CREDENTIALS_GONE`). A repeat of an
/// accepted replay is 409 `NOT_FAILED`. A replay counts against the limits of the task's owner. An operator may replay
/// another owner's task regardless of these limits; the task then counts among its owner's unfinished tasks.
#[utoipa::path(
    post, path = "/tasks/{id}/replay", operation_id = "replay_task", tag = "tasks",
    request_body = Option<ReplayBody>,
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("Prefer" = Option<String>, Header, description = "Synchronous mode: `wait=N` holds the response up to N (at most 60) seconds; a task that finishes within them is returned with 200", example = "wait=30"),
    ),
    responses(
        SubmitResponses,
        (status = 409, description = "The task has not failed", body = Problem, content_type = "application/problem+json"),
        crate::http::responses::TaskErrors,
        crate::http::responses::LimitErrors,
    )
)]
pub async fn replay(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(id): Path<String>,
    prefer: Prefer,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ApiError> {
    let task = find(&app, &caller, &id).await?;
    requeue_failed_task(&app, &caller, &task, body).await?;
    let (prefer, _held) = apply_prefer_wait(&app, &caller, prefer);
    match wait_and_respond(&app, &caller, task.id, prefer).await {
        // The task is queued; a 503 would say that it is not.
        Err(error) if error.problem().code == Code::QueueUnavailable => {
            Ok(respond(newly_replayed(task), prefer))
        }
        response => response,
    }
}

/// Queues a failed task again. `body` may hold its secrets.
///
/// # Errors
/// The task has not failed, its secrets are gone, a limit is reached, the body has faults, or Redis does not respond.
pub async fn requeue_failed_task(
    app: &App,
    caller: &Caller,
    task: &TaskRecord,
    body: Option<Value>,
) -> Result<(), ApiError> {
    let secrets = body.map(|body| task.request.parse_secrets(body)).transpose();
    let secrets = secrets.map_err(ApiError::invalid_fields)?.flatten();
    // A request without secrets needs none.
    let secrets = secrets.or_else(|| task.request.secret_fields().is_empty().then(Vec::new));
    let sealed = secrets.map(|secrets| seal_request(&app.sealer, task.id, &secrets)).transpose()?;
    // An operator's replay of another owner's task is not limited; the queue counts the task as its owner's.
    let limits = if caller.owns(task) { caller.limits } else { OwnerLimits::default() };
    match replay_or_confirm(app, task, sealed.as_deref(), limits).await? {
        ReplayOutcome::Queued => {
            tracing::info!(task.id = %task.id, by = caller.name, "the failed task is queued again");
            Ok(())
        }
        ReplayOutcome::SecretsGone => {
            Err(ApiError::new(Code::CredentialsGone, "The password of this task is no longer stored."))
        }
        ReplayOutcome::NotFailed(state) => {
            Err(ApiError::new(Code::NotFailed, format!("The task has not failed: it is {state}.")))
        }
        ReplayOutcome::Limited(limited) => Err(ApiError::limited(limited)),
        ReplayOutcome::Gone | ReplayOutcome::NotFound => {
            Err(ApiError::new(Code::TaskGone, "The task ended a while ago and is no longer kept."))
        }
    }
}

/// Replays a task. When Redis did it but the reply was lost, the task's number of replays has grown.
async fn replay_or_confirm(
    app: &App,
    task: &TaskRecord,
    sealed: Option<&str>,
    limits: OwnerLimits,
) -> Result<ReplayOutcome, QueueError> {
    match app.queue.replay(task.id, sealed, limits).await {
        Err(QueueError::Unavailable(error)) => match app.queue.get(task.id).await {
            Ok(TaskLookup::Found(now)) if now.replays > task.replays => Ok(ReplayOutcome::Queued),
            _ => Err(QueueError::Unavailable(error)),
        },
        outcome => outcome,
    }
}
