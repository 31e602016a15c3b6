//! Errors of requests to a migrator.

use reqwest::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

/// `ER_DUP_ENTRY` of MySQL and MariaDB.
const DUPLICATE_ENTRY: u32 = 1062;

/// Why a request failed. Contains no secrets.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The migrator rejects the request: another key, access disabled, import not enabled, or a clock more than 300 s off.
    #[error("the migrator rejects the request")]
    Forbidden,
    /// The migrator reports an error.
    #[error("the migrator reports {error} (HTTP {status})")]
    Migrator {
        /// HTTP status.
        status: u16,
        /// The reported error.
        error: MigratorError,
    },
    /// The response is neither JSON nor frames: the plugin is not active, or a firewall or cache answered.
    #[error("the response is not the migrator's (HTTP {status})")]
    UnexpectedContent {
        /// HTTP status.
        status: u16,
    },
    /// JSON or frames without a valid signature for this request.
    #[error("the response has no valid signature (HTTP {status})")]
    Unverified {
        /// HTTP status.
        status: u16,
        /// The error code, if WordPress named one (`rest_no_route`).
        code: Option<String>,
    },
    /// The response ended too early.
    #[error("the response was truncated")]
    Truncated,
    /// Signed, but not as the protocol says: another version of the plugin.
    #[error("the response does not follow the protocol: {0}")]
    Malformed(&'static str),
    /// Signed, but without an end or of a size that no site has.
    #[error("the site's answers have no end: {0}")]
    Endless(&'static str),
    /// A redirect. It is not followed, because clients repeat a POST as GET.
    #[error("the site responds with a redirect (HTTP {status})")]
    Redirected {
        /// HTTP status.
        status: u16,
        /// Its target without query and fragment.
        to: Option<Url>,
    },
    /// The request is longer than the site accepts.
    #[error("the request is longer than the site accepts")]
    RequestTooLarge,
    /// The response is longer than its format allows.
    #[error("the response is too large")]
    ResponseTooLarge,
    /// No complete response within the deadline.
    #[error("the site did not respond in time")]
    Timeout,
    /// No connection, or a broken one.
    #[error("cannot connect to the site")]
    Unreachable(#[source] reqwest::Error),
    /// The system's random number generator failed.
    #[error("the system has no random bytes")]
    Random(#[from] getrandom::Error),
}

/// An error reported by a migrator. The README explains the codes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MigratorError {
    /// The code, such as `busy`: at most 32 letters, digits and `_`; other characters are dropped.
    #[serde(rename = "error", deserialize_with = "plain")]
    pub code: String,
    /// The number of the database's error, for `database_error`.
    #[serde(default)]
    pub errno: Option<u32>,
    /// The id under which the site's PHP log has details, of the same characters.
    #[serde(default, deserialize_with = "plain")]
    pub id: String,
}

fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(32).collect())
}

impl std::fmt::Display for MigratorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.code, self.id)
    }
}

impl ClientError {
    /// The migrator's error code, if it reported one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Migrator { error, .. } => Some(&error.code),
            _ => None,
        }
    }

    /// Whether the target's database refuses a row because it equals another one in a unique index.
    #[must_use]
    pub fn is_duplicate_key(&self) -> bool {
        matches!(self, Self::Migrator { error, .. } if error.errno == Some(DUPLICATE_ENTRY))
    }

    /// Whether the same request may succeed later, or with a smaller budget.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Truncated | Self::ResponseTooLarge | Self::Timeout | Self::Unreachable(_) => true,
            Self::UnexpectedContent { status } | Self::Unverified { status, .. } => {
                *status < 300 || *status == 408 || *status == 413 || *status == 429 || *status >= 500
            }
            Self::Migrator { .. } if self.is_duplicate_key() => false,
            Self::Migrator { error, .. } => {
                matches!(error.code.as_str(), "busy" | "database_error" | "internal_error")
            }
            Self::Forbidden
            | Self::Malformed(_)
            | Self::Endless(_)
            | Self::Redirected { .. }
            | Self::Random(_)
            | Self::RequestTooLarge => false,
        }
    }

    /// Whether the other endpoint may still work.
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

/// Whether a text looks like one of WordPress' error codes; other texts are not repeated.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
