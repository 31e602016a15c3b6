//! Sending requests to a migrator's endpoints, and verifying the responses.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Response as HttpResponse, StatusCode};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::client::Client;
use crate::cost::PhpMemory;
use crate::error::{ClientError, MigratorError, php_fatal};
use crate::frames::Frames;
use crate::signing::{Key, Request};

/// The maximum length of a response: JSON, and frames.
pub(crate) const MAX_JSON_BYTES: usize = 1024 * 1024;
const MAX_FRAMES_BYTES: usize = 16 * 1024 * 1024;

/// In a copy, the error that ended a request to the migrator; percent-encoded.
const PHP_ERROR_HEADER: &str = "x-wpclone-php-error";

/// The two HTTP endpoints of a migrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    FrontController,
    Rest,
}

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    Json,
    Frames,
}

impl BodyFormat {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Frames => "application/octet-stream",
        }
    }

    fn max_bytes(self) -> usize {
        match self {
            Self::Json => MAX_JSON_BYTES,
            Self::Frames => MAX_FRAMES_BYTES,
        }
    }
}

/// A request to a route.
pub(crate) struct RouteCall<'a> {
    pub(crate) route: &'a str,
    /// Shared, so that retries and the second endpoint do not copy it.
    pub(crate) body: Bytes,
    pub(crate) request_format: BodyFormat,
    pub(crate) response_format: BodyFormat,
    pub(crate) transfers_content: bool,
    /// The maximum length of a response of JSON.
    pub(crate) max_json_bytes: usize,
}

impl<'a> RouteCall<'a> {
    /// A request of JSON whose response is JSON.
    pub(crate) fn json(
        route: &'a str,
        body: &impl Serialize,
        transfers_content: bool,
    ) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body).map_err(|_| ClientError::Malformed("a request"))?;
        Ok(Self {
            route,
            body: body.into(),
            request_format: BodyFormat::Json,
            response_format: BodyFormat::Json,
            transfers_content,
            max_json_bytes: MAX_JSON_BYTES,
        })
    }
}

/// A verified response.
enum Response {
    Json(Vec<u8>),
    Frames(Frames),
}

/// The field of a response that says how much memory PHP used.
#[derive(Deserialize)]
struct MemoryField {
    memory: PhpMemory,
}

impl Client {
    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        route: &str,
        body: &impl Serialize,
        transfers_content: bool,
    ) -> Result<T, ClientError> {
        self.send(&RouteCall::json(route, body, transfers_content)?).await
    }

    /// Sends a request whose response is JSON.
    pub(crate) async fn send<T: DeserializeOwned>(&self, call: &RouteCall<'_>) -> Result<T, ClientError> {
        match self.send_to_endpoints(call).await? {
            Response::Json(body) => {
                if let Ok(MemoryField { memory }) = serde_json::from_slice(&body) {
                    self.record_memory(memory);
                }
                serde_json::from_slice(&body).map_err(|_| ClientError::Malformed("the fields of a response"))
            }
            Response::Frames(_) => Err(ClientError::Malformed("frames instead of JSON")),
        }
    }

    pub(crate) async fn post_for_frames(&self, route: &str, body: &Value) -> Result<Frames, ClientError> {
        let body = body.to_string().into_bytes();
        let call = RouteCall {
            route,
            body: body.into(),
            request_format: BodyFormat::Json,
            response_format: BodyFormat::Frames,
            transfers_content: true,
            max_json_bytes: MAX_JSON_BYTES,
        };
        let Response::Frames(frames) = self.send_to_endpoints(&call).await? else {
            return Err(ClientError::Malformed("JSON instead of frames"));
        };
        if let Ok(MemoryField { memory }) = frames.end() {
            self.record_memory(memory);
        }
        match frames.end::<MigratorError>() {
            Ok(error) => Err(ClientError::Migrator { status: 200, error: Box::new(error) }),
            Err(_) => Ok(frames),
        }
    }

    async fn send_to_endpoints(&self, call: &RouteCall<'_>) -> Result<Response, ClientError> {
        let both = [Endpoint::FrontController, Endpoint::Rest];
        let [preferred, fallback] =
            if self.prefers_rest.load(Ordering::Relaxed) { [both[1], both[0]] } else { both };
        let first = match self.try_endpoint(preferred, call).await {
            Err(error) if error.may_try_other_endpoint() => error,
            result => return result,
        };
        tracing::debug!(error = %first, route = call.route, "endpoint failed, trying the other one");
        match self.try_endpoint(fallback, call).await {
            Ok(response) => {
                self.prefers_rest.store(fallback == Endpoint::Rest, Ordering::Relaxed);
                Ok(response)
            }
            Err(second) if matches!(second, ClientError::Forbidden | ClientError::Migrator { .. }) => {
                Err(second)
            }
            Err(_) => Err(first),
        }
    }

    async fn try_endpoint(&self, endpoint: Endpoint, call: &RouteCall<'_>) -> Result<Response, ClientError> {
        let request = Request::new(call.route, &call.body)?;
        let response = self
            .http
            .post(endpoint.address(&self.site, &request))
            .headers(request.headers(&self.key))
            .header(ACCEPT, call.response_format.content_type())
            .header(CONTENT_TYPE, call.request_format.content_type())
            .timeout(if call.transfers_content { self.transfer_deadline } else { self.deadline })
            .body(call.body.clone())
            .send()
            .await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(ClientError::Redirected { status: status.as_u16(), to: redirect_target(&response) });
        }
        let Some(format) = body_format(&response) else {
            if let Some(fatal) = response.headers().get(PHP_ERROR_HEADER).and_then(|v| v.to_str().ok()) {
                return Err(php_fatal(status, fatal));
            }
            return Err(ClientError::UnexpectedContent { status: status.as_u16() });
        };
        if format == BodyFormat::Frames {
            let mut body = self.pool.take();
            read_into(response, call.response_format.max_bytes(), &mut body).await?;
            return Frames::verified(body, &request, &self.key, status.as_u16()).map(Response::Frames);
        }
        let signature = response
            .headers()
            .get("x-wpclone-response-signature")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let body = read(response, call.max_json_bytes).await?;
        verified_json(status, body, signature.as_deref(), &request, &self.key).map(Response::Json)
    }
}

/// The format that the content type declares.
fn body_format(response: &HttpResponse) -> Option<BodyFormat> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [BodyFormat::Json, BodyFormat::Frames]
        .into_iter()
        .find(|format| kind.eq_ignore_ascii_case(format.content_type()))
}

/// Reads a body of at most `max_bytes`.
pub(crate) async fn read(response: HttpResponse, max_bytes: usize) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    read_into(response, max_bytes, &mut body).await?;
    Ok(body)
}

async fn read_into(
    mut response: HttpResponse,
    max_bytes: usize,
    body: &mut Vec<u8>,
) -> Result<(), ClientError> {
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Err(ClientError::ResponseTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(())
}

/// The JSON of a response, if it is the migrator's to this request and reports no error.
fn verified_json(
    status: StatusCode,
    body: Vec<u8>,
    signature: Option<&str>,
    request: &Request<'_>,
    key: &Key,
) -> Result<Vec<u8>, ClientError> {
    // Until it is verified it may be anything, which takes memory when it is kept.
    if serde_json::from_slice::<IgnoredAny>(&body).is_err() {
        return Err(ClientError::UnexpectedContent { status: status.as_u16() });
    }
    // A 403 is unsigned: without a key the migrator cannot sign.
    if status == StatusCode::FORBIDDEN && is_empty_object(&body) {
        return Err(ClientError::Forbidden);
    }
    if !signature.is_some_and(|s| request.verifies_json(key, status.as_u16(), &body, s)) {
        return Err(ClientError::unverified(status, &body));
    }
    if status == StatusCode::OK {
        return Ok(body);
    }
    match serde_json::from_slice(&body) {
        Ok(error) => Err(ClientError::Migrator { status: status.as_u16(), error: Box::new(error) }),
        Err(_) => Err(ClientError::Malformed("an unknown route")),
    }
}

fn is_empty_object(json: &[u8]) -> bool {
    json.trim_ascii().strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii() == b"}")
}

impl Endpoint {
    /// The address of a request at this endpoint. A path prefix of the site is kept.
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

fn redirect_target(response: &HttpResponse) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut to = response.url().join(location).ok()?;
    to.set_query(None);
    to.set_fragment(None);
    Some(to)
}
