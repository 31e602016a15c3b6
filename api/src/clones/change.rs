//! Extending and deleting a clone: PATCH and DELETE /clones/{name}.

use axum::extract::{Path, State};
use axum::response::Response;
use wpclone_clones::CloneEntry;
use wpclone_queue::CancelOutcome;
use wpclone_task::{CloneName, CloneRef, Request};

use crate::clones::{find, require_published};
use crate::http::error::ApiError;
use crate::state::SharedApp;
use crate::tasks::accept::{accept, apply_prefer_wait, wait_and_respond};
use crate::tasks::work_request::{WorkRequest, WorkRequestWithoutBody, WorkResponses};
use wpclone_task::openapi::ExtendCloneBody;

fn clone_ref(entry: CloneEntry) -> CloneRef {
    CloneRef { name: entry.name, created_by: entry.task }
}

/// Extend or shorten a clone's lifetime
///
/// The clone expires so many minutes after this request. 409 `CLONE_NOT_READY` while it is being created.
#[utoipa::path(
    patch, path = "/clones/{name}", operation_id = "extend_clone", tag = "clones", request_body = ExtendCloneBody,
    params(("name" = CloneName, Path, description = "The clone's name"), crate::http::headers::WorkHeaders),
    responses(WorkResponses, crate::http::responses::CloneErrors, crate::http::responses::LimitErrors),
)]
pub async fn extend(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    request: WorkRequest,
) -> Result<Response, ApiError> {
    let entry = find(&app, &request.caller, &name).await?;
    require_published(&entry)?;
    accept(&app, request, |body| Request::parse_extend_clone(clone_ref(entry), body)).await
}

/// Delete a clone
///
/// Deletes the clone and everything that belongs to it. While it is being created, the task that creates it is cancelled
/// instead, which deletes the clone too, and that task is returned. The source is not changed.
#[utoipa::path(
    delete, path = "/clones/{name}", operation_id = "delete_clone", tag = "clones",
    params(("name" = CloneName, Path, description = "The clone's name"), crate::http::headers::WorkHeaders),
    responses(WorkResponses, crate::http::responses::CloneErrors, crate::http::responses::LimitErrors),
)]
pub async fn delete(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    WorkRequestWithoutBody(request): WorkRequestWithoutBody,
) -> Result<Response, ApiError> {
    let entry = find(&app, &request.caller, &name).await?;
    // A task that has ended cannot be cancelled and deletes nothing.
    if entry.phase.is_before_publication()
        && matches!(app.queue.cancel(entry.task).await?, CancelOutcome::Cancelled | CancelOutcome::Requested)
    {
        tracing::info!(clone = %entry.name, task.id = %entry.task, "cancellation of the task that creates the clone was requested");
        let WorkRequest { caller, prefer, .. } = request;
        let (prefer, _held) = apply_prefer_wait(&app, &caller, prefer);
        return wait_and_respond(&app, &caller, entry.task, prefer).await;
    }
    accept(&app, request, |body| Request::parse_delete_clone(clone_ref(entry), body)).await
}
