//! The one form of every error answer.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use wpclone_artifacts::ArtifactError;
use wpclone_clones::RegistryError;
use wpclone_queue::{LimitExceeded, QueueError};
use wpclone_service::seal::SealError;
use wpclone_task::{Code, FieldErrors, Problem};

use crate::sessions::SessionError;

/// When to come back, in seconds, to a queue that cannot be reached, and where something else has to end first.
const COME_BACK: &str = "5";

/// An error answer. It becomes `application/problem+json`, or a page where a page was asked for, in
/// [`crate::http::observe`], which knows the request's id.
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
                Some((header::RETRY_AFTER, HeaderValue::from_static(COME_BACK)))
            }
            Code::Unauthenticated => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"wpclone\"")))
            }
            Code::RequestTimeout => Some((header::CONNECTION, HeaderValue::from_static("close"))),
            _ => None,
        };
        Self { problem: Box::new(Problem::new(code, detail)), header }
    }

    /// The faults of a request's body.
    #[must_use]
    pub fn invalid_fields(faults: FieldErrors) -> Self {
        let detail = match faults.len() {
            1 => "One field has a fault.".to_owned(),
            n => format!("{n} fields have faults."),
        };
        let mut error = Self::new(Code::InvalidRequest, detail);
        error.problem.errors = faults;
        error
    }

    /// A limit of the caller's token was met.
    #[must_use]
    pub fn limited(limited: LimitExceeded) -> Self {
        let LimitExceeded::Rate(wait) = limited else {
            return Self::new(Code::TooManyTasks, "Its limit of unfinished tasks is reached.");
        };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = seconds.max(1);
        let detail = format!("The token's next task is accepted in {seconds} s.");
        let mut error = Self::new(Code::RateLimited, detail);
        error.header = Some((header::RETRY_AFTER, HeaderValue::from(seconds)));
        error
    }

    /// A defect of ours: what happened goes into the log, not into the answer.
    #[must_use]
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed through a fault of ours");
        Self::new(
            Code::Internal,
            "The request could not be answered. The log tells more under this request id.",
        )
    }

    /// What happened.
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

fn unavailable(error: &dyn std::fmt::Display) -> ApiError {
    tracing::warn!(%error, "the queue cannot be reached");
    ApiError::new(Code::QueueUnavailable, "Redis does not answer. What was accepted before is not lost.")
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable(_) => unavailable(&error),
            QueueError::BadCursor => {
                Self::new(Code::BadParameter, "`cursor` or Last-Event-ID is none that this API handed out.")
            }
            QueueError::TooLarge(what) => {
                Self::new(Code::BodyTooLarge, format!("The {what} is larger than the queue takes."))
            }
            QueueError::LeaseLost | QueueError::Unexpected(_) => Self::internal(error),
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::BadName => Self::new(Code::ArtifactNotFound, "No artifact can have this name."),
            ArtifactError::Store(_) => unavailable(&error),
            ArtifactError::TooLarge => Self::internal(error),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Store(_) => unavailable(&error),
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
            SessionError::Random(_) => Self::internal(error),
        }
    }
}

impl From<SealError> for ApiError {
    fn from(error: SealError) -> Self {
        Self::internal(error)
    }
}
