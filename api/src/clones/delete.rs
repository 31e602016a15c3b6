//! Deleting a clone: DELETE /clones/{name}.

use axum::extract::{Path, State};
use axum::response::Response;
use wpclone_queue::CancelOutcome;
use wpclone_task::{CloneName, Request};

use crate::clones::{clone_ref, find};
use crate::http::error::ApiError;
use crate::state::SharedApp;
use crate::tasks::submit::{apply_prefer_wait, submit_and_respond, wait_and_respond};
use crate::tasks::submit_request::{SubmitRequest, SubmitRequestWithoutBody, SubmitResponses};

/// Delete a clone
///
/// Deletes the clone and everything that belongs to it. While it is being created, the task that creates it is cancelled
/// instead, which deletes the clone too, and that task is returned. The source is not changed.
#[utoipa::path(
    delete, path = "/clones/{name}", operation_id = "delete_clone", tag = "clones",
    params(("name" = CloneName, Path, description = "The clone's name"), crate::http::headers::SubmitHeaders),
    responses(SubmitResponses, crate::http::responses::CloneErrors, crate::http::responses::LimitErrors),
)]
pub async fn delete(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    SubmitRequestWithoutBody(request): SubmitRequestWithoutBody,
) -> Result<Response, ApiError> {
    let entry = find(&app, &request.caller, &name).await?;
    // A task that has ended cannot be cancelled and deletes nothing.
    if entry.phase.is_before_publication()
        && matches!(app.queue.cancel(entry.task).await?, CancelOutcome::Cancelled | CancelOutcome::Requested)
    {
        tracing::info!(clone = %entry.name, task.id = %entry.task, "cancellation of the task that creates the clone was requested");
        let SubmitRequest { caller, prefer, .. } = request;
        let (prefer, _held) = apply_prefer_wait(&app, &caller, prefer);
        return wait_and_respond(&app, &caller, entry.task, prefer).await;
    }
    submit_and_respond(&app, request, |body| Request::parse_delete_clone(clone_ref(entry), body)).await
}
