//! Error responses.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use wpclone_artifacts::ArtifactError;
use wpclone_clones::RegistryError;
use wpclone_queue::{LimitExceeded, QueueError};
use wpclone_redis::OtherLayout;
use wpclone_service::seal::SealError;
use wpclone_task::{Code, FieldErrors, Problem};

use crate::sessions::SessionError;

/// `Retry-After` in seconds when Redis does not respond, or something else has to end first.
const RETRY_AFTER_SECONDS: &str = "5";

/// An error response. Its problem is an extension of the response until [`render_problem`] writes it as
/// `application/problem+json` or as a page, with the request's id.
#[derive(Debug, Clone)]
pub struct ApiError {
    problem: Box<Problem>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// A problem of this code; `detail` must be free of secrets.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let header = match code {
            Code::QueueUnavailable | Code::TooManyTasks | Code::TooManyStreams => {
                Some((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS)))
            }
            Code::Unauthenticated => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"wpclone\"")))
            }
            Code::RequestTimeout => Some((header::CONNECTION, HeaderValue::from_static("close"))),
            _ => None,
        };
        Self { problem: Box::new(Problem::new(code, detail)), header }
    }

    /// The request's body has faults.
    #[must_use]
    pub fn invalid_fields(faults: FieldErrors) -> Self {
        let detail = match faults.len() {
            1 => "One field is invalid.".to_owned(),
            n => format!("{n} fields are invalid."),
        };
        let mut error = Self::new(Code::InvalidRequest, detail);
        error.problem.errors = faults;
        error
    }

    /// A limit of the caller's token is reached.
    #[must_use]
    pub fn limited(limited: LimitExceeded) -> Self {
        let LimitExceeded::Rate(wait) = limited else {
            return Self::new(Code::TooManyTasks, "The token's limit of unfinished tasks is reached.");
        };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = seconds.max(1);
        let detail = format!("The token's rate limit is reached. Its next task is accepted in {seconds} s.");
        let mut error = Self::new(Code::RateLimited, detail);
        error.header = Some((header::RETRY_AFTER, HeaderValue::from(seconds)));
        error
    }

    /// A defect of the program. The error is logged; the response does not repeat it.
    #[must_use]
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "internal error");
        Self::new(
            Code::Internal,
            "The request failed through an internal error. The log has the details under this request id.",
        )
    }

    /// The problem.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.problem.status.and_then(|s| StatusCode::from_u16(s).ok());
        let mut response = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        response.headers_mut().extend(self.header);
        response.extensions_mut().insert(self.problem);
        response
    }
}

/// Writes the problem of an error response as its body. Returns whether there was one.
pub fn render_problem(
    response: &mut Response,
    request_id: &str,
    content_type: &'static str,
    render: impl FnOnce(&Problem) -> String,
) -> bool {
    let Some(mut problem) = response.extensions_mut().remove::<Box<Problem>>() else { return false };
    problem.instance = Some(request_id.to_owned());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(render(&problem));
    true
}

fn unavailable(error: &dyn std::fmt::Display) -> ApiError {
    tracing::warn!(%error, "Redis does not respond");
    ApiError::new(
        Code::QueueUnavailable,
        "Redis does not respond. Tasks that were accepted before are not lost.",
    )
}

fn other_layout(error: OtherLayout) -> ApiError {
    tracing::error!(%error, "Redis cannot be used");
    ApiError::new(Code::QueueUnavailable, format!("{error}."))
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable(_) => unavailable(&error),
            QueueError::OtherLayout(layout) => other_layout(layout),
            QueueError::BadCursor => {
                Self::new(Code::BadParameter, "`cursor` or Last-Event-ID was not issued by this API.")
            }
            QueueError::TooLarge(what) => {
                Self::new(Code::BodyTooLarge, format!("The {what} is too large for the queue."))
            }
            QueueError::LeaseLost | QueueError::Unreadable | QueueError::Unexpected(_) => {
                Self::internal(error)
            }
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::BadName => Self::new(Code::ArtifactNotFound, "No artifact can have this name."),
            ArtifactError::Store(_) => unavailable(&error),
            ArtifactError::OtherLayout(layout) => other_layout(layout),
            ArtifactError::TooLarge => Self::internal(error),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Store(_) => unavailable(&error),
            RegistryError::OtherLayout(layout) => other_layout(layout),
            RegistryError::TooLarge | RegistryError::Full | RegistryError::InvalidProvisionerId => {
                Self::internal(error)
            }
        }
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(_) => unavailable(&error),
            SessionError::OtherLayout(layout) => other_layout(layout),
            SessionError::Random(_) => Self::internal(error),
        }
    }
}

impl From<SealError> for ApiError {
    fn from(error: SealError) -> Self {
        Self::internal(error)
    }
}
