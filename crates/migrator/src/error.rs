//! Errors of requests to a migrator.

use reqwest::StatusCode;
use serde::{Deserialize, Deserializer};
use url::Url;

/// `ER_DUP_ENTRY` of both databases, `ER_CHECK_CONSTRAINT_VIOLATED` of MySQL, `ER_CONSTRAINT_FAILED` of MariaDB.
const CONSTRAINT_ERRORS: [u32; 3] = [1062, 3819, 4025];

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
        error: Box<MigratorError>,
    },
    /// The response is neither JSON nor frames: the plugin is not active, or a firewall or cache answered.
    #[error("the response is not the migrator's (HTTP {status})")]
    UnexpectedContent {
        /// HTTP status.
        status: u16,
    },
    /// PHP ended the request with an error. Only copies of wpclone report it.
    #[error("PHP ended with: {message} (HTTP {status})")]
    PhpFatal {
        /// HTTP status.
        status: u16,
        /// PHP's words, at most 300 characters.
        message: String,
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct MigratorError {
    /// The code, such as `busy`: at most 32 letters, digits and `_`; other characters are dropped.
    #[serde(rename = "error", deserialize_with = "plain")]
    pub code: String,
    /// The id under which the site's PHP log has details, of the same characters.
    #[serde(default, deserialize_with = "plain")]
    pub id: String,
    /// The number of the database's error, for `database_error` and `database_busy`.
    #[serde(default)]
    pub errno: Option<u32>,
    /// What the database says: at most 300 characters. Migrators send nothing that quotes rows.
    #[serde(default, deserialize_with = "printable")]
    pub message: String,
    /// The part of a request or definition that is not accepted, such as `columns.0.type`.
    #[serde(default, deserialize_with = "printable")]
    pub field: String,
    /// The table that it is about, where the request named none.
    #[serde(default, deserialize_with = "printable")]
    pub table: String,
}

/// The field of a response that anybody may have sent.
#[derive(Deserialize)]
struct CodeField {
    code: String,
}

/// The most characters of a text that a migrator reports.
const MAX_TEXT_CHARS: usize = 300;

pub(crate) fn printable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| shown(&text))
}

/// What the header of a copy says about PHP's last error.
pub(crate) fn php_fatal(status: StatusCode, header: &str) -> ClientError {
    let message = percent_encoding::percent_decode_str(header).decode_utf8_lossy();
    ClientError::PhpFatal { status: status.as_u16(), message: shown(&message) }
}

/// A text of a site without characters that are not seen, at most [`MAX_TEXT_CHARS`] of them.
fn shown(text: &str) -> String {
    let seen = |c: char| if c.is_alphanumeric() || c.is_ascii_graphic() { c } else { ' ' };
    text.chars().take(MAX_TEXT_CHARS).map(seen).collect::<String>().trim().to_owned()
}

fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(32).collect())
}

impl std::fmt::Display for MigratorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(errno) = self.errno {
            write!(f, " {errno}")?;
        }
        for (name, value) in [("field", &self.field), ("table", &self.table)] {
            if !value.is_empty() {
                write!(f, ", {name} {value}")?;
            }
        }
        match (self.message.as_str(), self.errno.and_then(meaning)) {
            ("", None) => {}
            ("", Some(meaning)) => write!(f, " ({meaning})")?,
            (message, _) => write!(f, " ({message})")?,
        }
        if self.id.is_empty() { Ok(()) } else { write!(f, " [{}]", self.id) }
    }
}

impl MigratorError {
    /// An error of the database.
    pub(crate) fn of_database(errno: u32, message: &str) -> Self {
        let (code, message) = ("database_error".to_owned(), shown(message));
        Self { code, errno: Some(errno), message, ..Self::default() }
    }

    /// Whether it is caused by what the site contains, so that the same request fails in the same way again.
    #[must_use]
    pub fn is_about_content(&self) -> bool {
        matches!(self.code.as_str(), "database_error" | "rejected" | "value_too_large")
    }
}

/// What errors of the database mean whose message quotes rows, and is therefore not sent.
fn meaning(errno: u32) -> Option<&'static str> {
    Some(match errno {
        1062 | 1586 => "two rows have the same key",
        1048 => "a value is NULL and may not be",
        1264 | 1406 => "a value is too large for its column",
        1292 | 1366 | 1411 => "a value is not of its column's type",
        3819 | 4025 => "a row violates a check",
        3140 => "a value is not JSON",
        1416 => "a value is not a geometry",
        _ => return None,
    })
}

impl ClientError {
    /// Whether it is caused by what the site contains, so that the same request fails in the same way again.
    #[must_use]
    pub fn is_about_content(&self) -> bool {
        matches!(self, Self::Migrator { error, .. } if error.is_about_content())
    }

    /// The migrator's error code, if it reported one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Migrator { error, .. } => Some(&error.code),
            _ => None,
        }
    }

    /// Whether the target's database does not accept a row because it equals another one in a unique index, or violates a
    /// check.
    #[must_use]
    pub fn violates_constraint(&self) -> bool {
        matches!(self, Self::Migrator { error, .. } if error.errno.is_some_and(|errno| CONSTRAINT_ERRORS.contains(&errno)))
    }

    /// Whether the same request may succeed later, or with a smaller budget.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Truncated | Self::ResponseTooLarge | Self::Timeout | Self::Unreachable(_) => true,
            // With a smaller budget PHP may stay below its limits.
            Self::PhpFatal { .. } => true,
            Self::UnexpectedContent { status } | Self::Unverified { status, .. } => {
                *status < 300 || *status == 408 || *status == 413 || *status == 429 || *status >= 500
            }
            Self::Migrator { .. } if self.violates_constraint() => false,
            Self::Migrator { error, .. } => {
                matches!(error.code.as_str(), "busy" | "database_busy" | "internal_error")
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
        let code = serde_json::from_slice(body).ok().map(|CodeField { code }| code);
        Self::Unverified { status: status.as_u16(), code: code.filter(|code| is_code(code)) }
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
