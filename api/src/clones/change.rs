//! Asking for a clone's change: PATCH and DELETE /clones/{name}.

use axum::extract::{Path, State};
use axum::response::Response;
use wpclone_clones::CloneEntry;
use wpclone_queue::CancelOutcome;
use wpclone_task::{CloneName, CloneRef, Request};

use crate::clones::{find, is_published};
use crate::http::error::ApiError;
use crate::state::SharedApp;
use crate::tasks::accept::{Answers, WorkRequest, WorkRequestWithoutBody, accept, answer, apply_prefer_wait};
use wpclone_task::openapi::ExtendCloneBody;

fn kept(entry: CloneEntry) -> CloneRef {
    CloneRef { name: entry.name, created_by: entry.task }
}

/// Let a clone live longer, or shorter
///
/// It then expires so many minutes after this request. A clone that is still being made does not expire yet: 409
/// `CLONE_NOT_READY`.
#[utoipa::path(
    patch, path = "/clones/{name}", operation_id = "extend_clone", tag = "clones", request_body = ExtendCloneBody,
    params(("name" = CloneName, Path, description = "The clone's name"), crate::openapi::WorkHeaders),
    responses(Answers, crate::openapi::NoClone, crate::openapi::TooMany),
)]
pub async fn extend(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    asked: WorkRequest,
) -> Result<Response, ApiError> {
    let entry = find(&app, asked.caller(), &name).await?;
    is_published(&entry)?;
    accept(&app, asked, |body| Request::parse_extend_clone(kept(entry), body)).await
}

/// Delete a clone
///
/// All of it goes. While it is still being made, the task that makes it is cancelled instead, which takes it away too,
/// and the answer is that task. Nothing of its source is touched.
#[utoipa::path(
    delete, path = "/clones/{name}", operation_id = "delete_clone", tag = "clones",
    params(("name" = CloneName, Path, description = "The clone's name"), crate::openapi::WorkHeaders),
    responses(Answers, crate::openapi::NoClone, crate::openapi::TooMany),
)]
pub async fn delete(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    WorkRequestWithoutBody(asked): WorkRequestWithoutBody,
) -> Result<Response, ApiError> {
    let entry = find(&app, asked.caller(), &name).await?;
    // A task that has ended takes nothing away any more.
    if entry.phase.is_before_publication()
        && matches!(app.queue.cancel(entry.task).await?, CancelOutcome::Cancelled | CancelOutcome::Requested)
    {
        tracing::info!(clone = %entry.name, task.id = %entry.task, "the end of the task that makes the clone was asked for");
        let (caller, prefer) = asked.waiting();
        let (prefer, _held) = apply_prefer_wait(&app, &caller, prefer);
        return answer(&app, &caller, entry.task, prefer).await;
    }
    accept(&app, asked, |body| Request::parse_delete_clone(kept(entry), body)).await
}
