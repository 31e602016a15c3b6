//! What can come of a request, other than an answer.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

/// Why a migrator's answer was not to be had. Free of secrets.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The migrator is there and refuses: another key, asleep, import switched off, or a clock more than 300 s off.
    #[error("the migrator refuses the request")]
    Forbidden,
    /// The migrator says what is in the way.
    #[error("the migrator says {error} (HTTP {status})")]
    Migrator {
        /// HTTP status.
        status: u16,
        /// What it says.
        error: MigratorError,
    },
    /// The answer is neither JSON nor frames: the plugin is not active, or something stands before it.
    #[error("the answer is not the migrator's (HTTP {status})")]
    UnexpectedContent {
        /// HTTP status.
        status: u16,
    },
    /// JSON or frames without the proof that they are the migrator's answer to this request, whole and unchanged.
    #[error("the answer is not proven (HTTP {status})")]
    Unverified {
        /// HTTP status.
        status: u16,
        /// The error code, if WordPress named one (`rest_no_route`).
        code: Option<String>,
    },
    /// The answer ended before its end.
    #[error("the answer was cut off")]
    Truncated,
    /// Proven, but not what the protocol has: another version of the plugin.
    #[error("the answer has what the protocol does not: {0}")]
    Malformed(&'static str),
    /// The site sends us elsewhere. It is not followed: a redirect turns a POST into a GET.
    #[error("the site answers with a redirect (HTTP {status})")]
    Redirected {
        /// HTTP status.
        status: u16,
        /// Where to, without query and fragment.
        to: Option<Url>,
    },
    /// A request that is longer than the site takes.
    #[error("the request is too long for the site")]
    RequestTooLarge,
    /// Longer than its kind may be.
    #[error("the answer is too large")]
    ResponseTooLarge,
    /// No answer, or not all of it, in time.
    #[error("the site does not answer in time")]
    Timeout,
    /// No connection, or a broken one.
    #[error("the site cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The system has no random bytes to give.
    #[error("no random bytes")]
    Random(#[from] getrandom::Error),
}

/// What a migrator says when something is in the way. The README tells what each code means.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MigratorError {
    /// The code, such as `busy`.
    #[serde(rename = "error")]
    pub code: String,
    /// By this it is found in the log of the site's PHP.
    #[serde(default)]
    pub id: String,
    /// What else the code has.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

impl std::fmt::Display for MigratorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain =
            |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(32).collect();
        let (code, id): (String, String) = (plain(&self.code), plain(&self.id));
        write!(f, "{code} [{id}]")
    }
}

impl ClientError {
    /// The migrator's own code, if it gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Migrator { error, .. } => Some(&error.code),
            _ => None,
        }
    }

    /// Whether the same request may well succeed a little later, or when it asks for less.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Truncated | Self::ResponseTooLarge | Self::Timeout | Self::Unreachable(_) => true,
            Self::UnexpectedContent { status } | Self::Unverified { status, .. } => {
                *status < 300 || *status == 408 || *status == 413 || *status == 429 || *status >= 500
            }
            Self::Migrator { error, .. } => {
                matches!(error.code.as_str(), "busy" | "database_error" | "internal_error")
            }
            Self::Forbidden
            | Self::Malformed(_)
            | Self::Redirected { .. }
            | Self::Random(_)
            | Self::RequestTooLarge => false,
        }
    }

    /// Whether the other way in may still be open.
    pub(crate) fn may_try_other_endpoint(&self) -> bool {
        matches!(
            self,
            Self::UnexpectedContent { .. }
                | Self::Unverified { .. }
                | Self::Redirected { .. }
                | Self::ResponseTooLarge
        )
    }

    pub(crate) fn unverified(status: StatusCode, body: &[u8]) -> Self {
        let code = serde_json::from_slice::<Value>(body).ok();
        let code = code.as_ref().and_then(|v| v.get("code")).and_then(Value::as_str);
        Self::Unverified { status: status.as_u16(), code: code.filter(|c| is_code(c)).map(str::to_owned) }
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_body() || error.is_decode() {
            Self::Truncated
        } else {
            Self::Unreachable(error.without_url())
        }
    }
}

/// Whether a text looks like one of WordPress' error codes; anything else is not repeated.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
