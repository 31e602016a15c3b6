//! Extending a clone: PATCH /clones/{name}.

use axum::extract::{Path, State};
use axum::response::Response;
use wpclone_task::openapi::ExtendCloneBody;
use wpclone_task::{CloneName, Request};

use crate::clones::{clone_ref, find, require_published};
use crate::http::error::ApiError;
use crate::state::SharedApp;
use crate::tasks::submit::submit_and_respond;
use crate::tasks::submit_request::{SubmitRequest, SubmitResponses};

/// Extend or shorten a clone's lifetime
///
/// The clone expires so many minutes after this request. 409 `CLONE_NOT_READY` while it is being created.
#[utoipa::path(
    patch, path = "/clones/{name}", operation_id = "extend_clone", tag = "clones", request_body = ExtendCloneBody,
    params(("name" = CloneName, Path, description = "The clone's name"), crate::http::headers::SubmitHeaders),
    responses(SubmitResponses, crate::http::responses::CloneErrors, crate::http::responses::LimitErrors),
)]
pub async fn extend(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    request: SubmitRequest,
) -> Result<Response, ApiError> {
    let entry = find(&app, &request.caller, &name).await?;
    require_published(&entry)?;
    submit_and_respond(&app, request, |body| Request::parse_extend_clone(clone_ref(entry), body)).await
}
