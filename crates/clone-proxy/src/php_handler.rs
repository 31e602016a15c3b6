//! Requests that PHP handles.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::cgi_params::request_params;
use crate::directory::Backend;
use crate::fastcgi::{self, FastCgiError, Timeouts};
use crate::pages;

/// The most bytes of a request's body. PHP's own limits must not be lower.
pub const MAX_BODY_BYTES: u64 = 128 << 20;
/// The most bytes of a body without Content-Length. PHP needs the length, so such a body is buffered.
const MAX_BUFFERED_BODY_BYTES: usize = 16 << 20;
/// How long a request waits for one of the clone's permits.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// PHP's own time limit is shorter, so that it can still report it itself.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    head: Duration::from_secs(340),
    chunk: Duration::from_secs(120),
};

/// Runs a script of the clone. `path_info` is what follows it in the path. `Err` is a page of ours.
pub(crate) async fn run(
    backend: &Backend,
    peer: SocketAddr,
    request: Request<Incoming>,
    script: &Path,
    path_info: &[u8],
) -> Result<Response, Response> {
    let (head, body) = request.into_parts();
    let (length, body) = sized(&head, body).await?;
    let params = request_params(backend, peer, &head, length, script, path_info);
    let permit = timeout(PERMIT_TIMEOUT, backend.requests.acquire()).await;
    let permit = permit.ok().and_then(Result::ok).ok_or_else(|| {
        pages::page(StatusCode::SERVICE_UNAVAILABLE, "This clone has too many requests at once.")
    })?;
    let sent = fastcgi::request(&backend.socket, &params, body, TIMEOUTS).await;
    let answer = sent.map_err(|error| error_page(backend, &error))?;
    let body = if head.method == Method::HEAD { Body::empty() } else { answer.body };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
    // A permit is for a request that waits for PHP; reading a response is limited by the number of connections.
    drop(permit);
    Ok(response)
}

fn error_page(backend: &Backend, error: &FastCgiError) -> Response {
    tracing::debug!(clone = %backend.name, %error, "PHP sent no response");
    match error {
        FastCgiError::Connect(_) => pages::starting(),
        FastCgiError::Timeout => {
            pages::page(StatusCode::GATEWAY_TIMEOUT, "This clone's PHP did not respond in time.")
        }
        FastCgiError::Protocol(_) | FastCgiError::Io(_) => {
            pages::page(StatusCode::BAD_GATEWAY, "This clone's PHP ended before it responded.")
        }
    }
}

/// The body and its length.
async fn sized(head: &http::request::Parts, body: Incoming) -> Result<(u64, Body), Response> {
    let too_large =
        || pages::page(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is larger than a clone accepts.");
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > MAX_BODY_BYTES => Err(too_large()),
        Some(length) => Ok((length, Body::new(body))),
        None if hyper::body::Body::is_end_stream(&body) => Ok((0, Body::empty())),
        None => {
            let whole = Limited::new(Body::new(body), MAX_BUFFERED_BODY_BYTES).collect();
            let whole = timeout(TIMEOUTS.chunk, whole).await;
            let whole = whole.map_err(|_| {
                pages::page(StatusCode::REQUEST_TIMEOUT, "The request's body did not arrive in time.")
            })?;
            let bytes = whole.map_err(|_| too_large())?.to_bytes();
            Ok((bytes.len() as u64, Body::from(bytes)))
        }
    }
}
