//! The headers `Prefer` and `Idempotency-Key`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderValue, header::HeaderName, request::Parts};
use utoipa::IntoParams;
use wpclone_task::Code;

use crate::http::error::ApiError;
use crate::state::SharedApp;

/// The longest `Idempotency-Key`, in characters.
const MAX_KEY: usize = 255;

/// The headers of every request that starts a task, for the OpenAPI document. [`Prefer`] and [`IdempotencyKey`] read them.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers")]
pub struct SubmitHeaders {
    /// Synchronous mode: `wait=N` holds the response up to N (at most 60) seconds; a task that finishes within them is
    /// returned with 200.
    #[param(rename = "Prefer", example = "wait=30")]
    prefer: Option<String>,
    /// 1 to 255 visible ASCII characters. A repeat with the same key within a day returns the same task.
    #[param(rename = "Idempotency-Key", pattern = "^[!-~]{1,255}$")]
    idempotency_key: Option<String>,
}

/// `Prefer: wait=N` (RFC 7240): how long to wait for the task's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefer(pub Option<Duration>);

impl Prefer {
    /// The header `Preference-Applied`, when a wait is granted.
    #[must_use]
    pub fn applied(self) -> Option<(HeaderName, HeaderValue)> {
        let value = format!("wait={}", self.0?.as_secs());
        let value = HeaderValue::from_str(&value).ok()?;
        Some((HeaderName::from_static("preference-applied"), value))
    }

    fn from_headers(headers: &HeaderMap, longest: Duration) -> Self {
        let lines = headers.get_all("prefer").into_iter();
        let wait = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| split(line, ','))
            .find_map(wait_seconds);
        // A preference that is not understood is ignored (RFC 7240, section 2).
        Self(wait.map(|n| Duration::from_secs(n).min(longest)))
    }
}

/// Splits at a character outside of quoted strings.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let separator = c == at && !quoted;
        if escaped {
            escaped = false;
        } else if c == '"' {
            quoted = !quoted;
        } else {
            escaped = quoted && c == '\\';
        }
        separator
    })
}

/// The N of `wait=N`. The name is case-insensitive, the value may be quoted, and its parameters are ignored.
fn wait_seconds(preference: &str) -> Option<u64> {
    let (name, value) = split(preference, ';').next()?.split_once('=')?;
    name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse().ok()).flatten()
}

impl FromRequestParts<SharedApp> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, Infallible> {
        Ok(Self::from_headers(&parts.headers, app.limits.max_wait))
    }
}

/// `Idempotency-Key`: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl FromRequestParts<SharedApp> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &SharedApp) -> Result<Self, ApiError> {
        let mut keys = parts.headers.get_all("idempotency-key").into_iter();
        let Some(key) = keys.next() else {
            return Ok(Self(None));
        };
        let bytes = key.as_bytes();
        let fits = (1..=MAX_KEY).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        match (fits, key.to_str(), keys.next()) {
            (true, Ok(key), None) => Ok(Self(Some(key.to_owned()))),
            _ => Err(ApiError::new(
                Code::BadParameter,
                "Idempotency-Key must be sent once, with 1 to 255 visible ASCII characters.",
            )),
        }
    }
}

/// Whether the client prefers HTML to JSON.
#[must_use]
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(http::header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|a| a.split(',').next().is_some_and(|t| t.trim().starts_with("text/html")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_parsed_and_capped() {
        for (sent, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("handling=strict, Wait = \"3\"; x=1", Some(3)),
            ("wait=100000", Some(60)),
            ("wait=0", Some(0)),
            ("wait=soon", None),
            ("handling=strict; wait=3", None),
            ("note=\"a, wait=9; \\\", wait=8\", wait=7", Some(7)),
            ("await=5", None),
            ("respond-async", None),
            ("", None),
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(sent))]);
            let prefer = Prefer::from_headers(&headers, Duration::from_secs(60));
            assert_eq!(prefer, Prefer(seconds.map(Duration::from_secs)), "{sent}");
        }
    }
}
