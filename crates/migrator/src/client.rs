//! Talking to a migrator. Whatever answers is taken for hostile until it has been parsed.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::signing::{Key, Request};

/// The most bytes of an answer that are read.
const MOST_BODY: usize = 64 * 1024;

/// How long one request may take, its answer's body included.
const DEADLINE: Duration = Duration::from_secs(20);

/// Speaks to one migrator.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    site: Url,
    key: Key,
    deadline: Duration,
}

/// What the route `status` tells.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The plugin's version.
    pub plugin_version: String,
    /// WordPress' version.
    pub wordpress: String,
    /// PHP's version.
    pub php: String,
    /// Whether content may be taken in.
    pub import_enabled: bool,
    /// Until when the migrator stays open, in Unix seconds of the site's clock.
    pub open_until: i64,
    /// Where WordPress says that its own files are.
    pub site_url: String,
    /// Where WordPress says that its front page is.
    pub home_url: String,
    /// Whether it is a network of sites.
    pub multisite: bool,
}

/// Why a migrator's answer was not to be had. Free of secrets.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The migrator is there and refuses: another key, asleep, or a clock that is more than 300 s off.
    #[error("the migrator refuses the request")]
    Refused,
    /// The answer is not JSON: the plugin is not active, or something stands before it.
    #[error("the answer is not JSON (HTTP {status})")]
    NotJson {
        /// HTTP status.
        status: u16,
    },
    /// JSON, but not what the protocol has.
    #[error("the answer is JSON that the protocol does not have (HTTP {status})")]
    Unexpected {
        /// HTTP status.
        status: u16,
        /// The error code, if WordPress named one (`rest_no_route`).
        code: Option<String>,
    },
    /// The site sends us elsewhere. It is not followed: a redirect turns a POST into a GET.
    #[error("the site answers with a redirect (HTTP {status})")]
    Redirected {
        /// HTTP status.
        status: u16,
        /// Where to, without query and fragment.
        to: Option<Url>,
    },
    /// More than 64 KiB.
    #[error("the answer is too large")]
    TooLarge,
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

/// The two ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    FrontController,
    Rest,
}

impl Client {
    /// A client for the migrator of this site. `http` must not follow redirects.
    #[must_use]
    pub fn new(http: reqwest::Client, site: Url, key: Key) -> Self {
        Self { http, site, key, deadline: DEADLINE }
    }

    /// The same with another limit on each request than 20 s.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks how the migrator is; that keeps it open for an hour more.
    ///
    /// # Errors
    /// See [`ClientError`]. When both ways in fail it is the first way's error, unless the second was refused.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.call("status", b"{}").await
    }

    async fn call<T: DeserializeOwned>(&self, route: &str, body: &[u8]) -> Result<T, ClientError> {
        let first = match self.knock(Door::FrontController, route, body).await {
            Err(error) if error.is_about_the_door() => error,
            done => return done,
        };
        tracing::debug!(error = %first, route, "the front controller does not let us in; trying REST");
        self.knock(Door::Rest, route, body).await.map_err(|second| match second {
            ClientError::Refused => second,
            _ => first,
        })
    }

    async fn knock<T: DeserializeOwned>(
        &self,
        door: Door,
        route: &str,
        body: &[u8],
    ) -> Result<T, ClientError> {
        let request = Request::new(route, body)?;
        let response = self
            .http
            .post(door.address(&self.site, &request))
            .headers(request.headers(&self.key))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .timeout(self.deadline)
            .body(body.to_vec())
            .send()
            .await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(ClientError::Redirected { status: status.as_u16(), to: target(&response) });
        }
        if !is_json(&response) {
            return Err(ClientError::NotJson { status: status.as_u16() });
        }
        parse(status, &read(response).await?)
    }
}

impl Door {
    /// The request's address here. A path prefix of the site is kept.
    fn address(self, site: &Url, request: &Request<'_>) -> Url {
        let mut url = site.clone();
        url.set_fragment(None);
        url.set_query(None);
        let root = site.path().trim_end_matches('/');
        let (path, name, value) = match self {
            Self::FrontController => (format!("{root}/"), "wpclone_migrator", request.route.to_owned()),
            // Works without permalinks, unlike /wp-json/.
            Self::Rest => {
                (format!("{root}/index.php"), "rest_route", format!("/wpclone-migrator/v1/{}", request.route))
            }
        };
        url.set_path(&path);
        url.query_pairs_mut().append_pair(name, &value).append_pair("_", &request.unique);
        url
    }
}

impl ClientError {
    /// Whether the other way in may still be open.
    fn is_about_the_door(&self) -> bool {
        matches!(
            self,
            Self::NotJson { .. } | Self::Unexpected { .. } | Self::Redirected { .. } | Self::TooLarge
        )
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Unreachable(error.without_url()) }
    }
}

fn target(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut to = response.url().join(location).ok()?;
    to.set_query(None);
    to.set_fragment(None);
    Some(to)
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

async fn read(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MOST_BODY {
            return Err(ClientError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, ClientError> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Err(ClientError::NotJson { status: status.as_u16() });
    };
    if status == StatusCode::FORBIDDEN && value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Err(ClientError::Refused);
    }
    let code = value.get("code").and_then(Value::as_str).filter(|c| is_code(c)).map(str::to_owned);
    if status != StatusCode::OK {
        return Err(ClientError::Unexpected { status: status.as_u16(), code });
    }
    serde_json::from_value(value).map_err(|_| ClientError::Unexpected { status: status.as_u16(), code })
}

/// Whether a text looks like one of WordPress' error codes; anything else is not repeated.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
