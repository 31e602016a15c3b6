//! Doing a failed task again: POST /tasks/{id}/replay.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;
use wpclone_queue::{OwnerLimits, QueueError, ReplayOutcome, TaskLookup, TaskRecord};
use wpclone_service::sealed_task::seal_request;
use wpclone_task::{Code, Problem, TaskId};

use crate::http::auth::{Caller, TaskUser};
use crate::http::body::OptionalJson;
use crate::http::error::ApiError;
use crate::http::headers::Prefer;
use crate::state::{App, SharedApp};
use crate::tasks::accept::{Answers, answer, apply_prefer_wait, respond};
use crate::tasks::find;
use crate::tasks::view::queued_again;
use wpclone_task::openapi::ReplayBody;

/// Do a failed task again
///
/// The same task is queued again and goes on from where it failed, with its attempts counted anew. It needs no body
/// while the request's secrets are kept, which is a day; then it must bring them (`CREDENTIALS_GONE`). A repeat of a
/// replay that was accepted is 409 `NOT_FAILED`, for the task has not failed again. It counts against the limits of the
/// task's owner. An operator's replay of somebody else's task is not refused for them and costs no rate, but the task
/// counts among its owner's unfinished ones.
#[utoipa::path(
    post, path = "/tasks/{id}/replay", operation_id = "replay_task", tag = "tasks",
    request_body = Option<ReplayBody>,
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: hold the answer up to N (at most 60) seconds, and give 200 with the finished task", example = "wait=30"),
    ),
    responses(
        Answers,
        (status = 409, description = "It has not failed", body = Problem, content_type = "application/problem+json"),
        crate::openapi::NoTask,
        crate::openapi::TooMany,
    )
)]
pub async fn replay(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(id): Path<String>,
    prefer: Prefer,
    OptionalJson(body): OptionalJson,
) -> Result<Response, ApiError> {
    let task = find(&app, &caller, &id).await?;
    queue_again(&app, &caller, &task, body).await?;
    let (prefer, _held) = apply_prefer_wait(&app, &caller, prefer);
    match answer(&app, &caller, task.id, prefer).await {
        // It has been queued, and a 503 would say that it was not.
        Err(error) if error.problem().code == Code::QueueUnavailable => {
            Ok(respond(queued_again(task), prefer))
        }
        answered => answered,
    }
}

/// Queues a failed task again. `body` may bring its secrets.
///
/// # Errors
/// It has not failed, its secrets are gone, the caller has met a limit, the body has faults, or Redis does not answer.
pub async fn queue_again(
    app: &App,
    caller: &Caller,
    task: &TaskRecord,
    body: Option<Value>,
) -> Result<(), ApiError> {
    let secrets = body.map(|body| task.request.parse_secrets(body)).transpose();
    let secrets = secrets.map_err(ApiError::invalid_fields)?.flatten();
    // Of a request that has none, none can be gone.
    let secrets = secrets.or_else(|| task.request.secret_fields().is_empty().then(Vec::new));
    let sealed = secrets.map(|secrets| seal_request(&app.sealer, task.id, &secrets)).transpose()?;
    // What an operator does for others is refused for nobody's limits; the queue counts the task as its owner's.
    let limits = if caller.owns(task) { caller.limits } else { OwnerLimits::default() };
    match asked(app, task, sealed.as_deref(), limits).await? {
        ReplayOutcome::Queued => {
            tracing::info!(task.id = %task.id, by = caller.name, "the failed task is in the queue again");
            Ok(())
        }
        ReplayOutcome::SecretsGone => {
            Err(ApiError::new(Code::CredentialsGone, "The password of this task is no longer kept."))
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

/// When Redis took the wish but its answer was lost, the task tells: it has been replayed once more.
async fn asked(
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
        done => done,
    }
}
