//! Error responses that operations share, for the OpenAPI document.

use utoipa::IntoResponses;
use wpclone_task::Problem;

/// Responses to a caller without access.
#[derive(IntoResponses)]
pub enum AccessErrors {
    /// No valid token or session
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// The token's scope does not allow it, or the request came from another origin or host
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
}

/// Responses instead of a task.
#[derive(IntoResponses)]
pub enum TaskErrors {
    /// No such task
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The task is no longer kept
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(Problem),
}

/// Responses instead of a clone.
#[derive(IntoResponses)]
pub enum CloneErrors {
    /// No such clone
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The clone is still being created
    #[response(status = 409, content_type = "application/problem+json")]
    NotReady(Problem),
    /// The clone has expired or was deleted, within the last day
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(Problem),
}

/// The response when a limit of the token is reached.
#[derive(IntoResponses)]
pub enum LimitErrors {
    /// A limit of the token is reached
    #[response(status = 429, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "Seconds until a retry makes sense"),
    ))]
    TooManyRequests(Problem),
}

/// Responses to a well-formed request that any operation may return.
#[derive(IntoResponses)]
pub enum CommonErrors {
    /// A parameter or header is invalid
    #[response(status = 400, content_type = "application/problem+json")]
    BadParameter(Problem),
    /// Redis does not respond
    #[response(status = 503, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "Seconds until a retry makes sense"),
    ))]
    Unavailable(Problem),
}
