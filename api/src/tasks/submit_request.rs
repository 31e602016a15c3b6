//! Requests that start a task, and their responses.

use axum::extract::{FromRequest, FromRequestParts, Request as HttpRequest};
use http::request::Parts;
use serde_json::{Value, json};
use utoipa::IntoResponses;
use wpclone_task::{Problem, TaskView};

use crate::http::auth::{Caller, TaskUser};
use crate::http::body::JsonBody;
use crate::http::error::ApiError;
use crate::http::headers::{IdempotencyKey, Prefer};
use crate::state::SharedApp;

/// A request that starts a task.
pub struct SubmitRequest {
    /// The authenticated caller.
    pub caller: Caller,
    /// How long the caller waits for the task's end.
    pub prefer: Prefer,
    /// The idempotency key.
    pub key: IdempotencyKey,
    /// The body, not yet parsed.
    pub body: Value,
}

impl FromRequest<SharedApp> for SubmitRequest {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, app: &SharedApp) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let SubmitRequestWithoutBody(head) =
            SubmitRequestWithoutBody::from_request_parts(&mut parts, app).await?;
        let JsonBody(body) = JsonBody::from_request(HttpRequest::from_parts(parts, body), app).await?;
        Ok(Self { body, ..head })
    }
}

/// A [`SubmitRequest`] whose body is ignored.
pub struct SubmitRequestWithoutBody(pub SubmitRequest);

impl FromRequestParts<SharedApp> for SubmitRequestWithoutBody {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let TaskUser(caller) = TaskUser::from_request_parts(parts, app).await?;
        let Ok(prefer) = Prefer::from_request_parts(parts, app).await;
        let key = IdempotencyKey::from_request_parts(parts, app).await?;
        Ok(Self(SubmitRequest { caller, prefer, key, body: json!({}) }))
    }
}

/// The responses to a request that starts a task, for the OpenAPI document.
#[derive(IntoResponses)]
pub enum SubmitResponses {
    /// Accepted: the task is queued
    #[response(status = 202, headers(
        ("Location" = String, description = "The task's path"),
        ("Retry-After" = u32, description = "Seconds until the next poll"),
        ("Preference-Applied" = Option<String>, description = "`wait=N`, the wait that was granted"),
    ))]
    Accepted(TaskView),
    /// Synchronous mode: the task finished within `Prefer: wait=N`, whatever its outcome
    #[response(status = 200, headers(
        ("Location" = String, description = "The task's path"),
        ("Preference-Applied" = String, description = "`wait=N`, the wait that was granted"),
    ))]
    Finished(TaskView),
    /// The request is refused
    #[response(status = "4XX", content_type = "application/problem+json")]
    Refused(Problem),
    /// Redis does not respond
    #[response(status = 503, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "Seconds until a retry makes sense"),
    ))]
    Unavailable(Problem),
}
