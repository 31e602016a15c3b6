//! Requests that PHP handles.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode};
use tokio::time::timeout;
use wpclone_http_server::RequestBody;

use crate::cgi_params::request_params;
use crate::directory::Backend;
use crate::fastcgi::{self, FastCgiError, Timeouts};
use crate::pages;
use crate::request_body::{self, BodyError, PERMIT_TIMEOUT};
use crate::spool_space::SpoolSpace;

/// PHP's own time limit is shorter, so that it can still report it itself.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    head: Duration::from_secs(340),
    chunk: Duration::from_secs(120),
    // PHP is not slower than this even when it waits for one of its few processes; what listens in its place may be.
    body_bytes_per_second: 256 << 10,
    // PHP's own limit, and what may still be under way when it ends.
    response: Duration::from_secs(460),
};

/// Runs a script of the clone. `path_info` is what follows it in the path. `Err` is a page of ours.
pub(crate) async fn run(
    backend: &Backend,
    space: &SpoolSpace,
    peer: SocketAddr,
    request: Request<RequestBody>,
    script: &Path,
    path_info: &[u8],
) -> Result<Response, Response> {
    let (head, body) = request.into_parts();
    let space = space.begin(&backend.name);
    let body = request_body::receive(body, &backend.permits.uploads, space).await.map_err(BodyError::page)?;
    let params = request_params(backend, peer, &head, body.length, script, path_info);
    let permit = timeout(PERMIT_TIMEOUT, backend.permits.requests.acquire()).await;
    let permit = permit
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| pages::busy("This clone has too many requests at once."))?;
    let sent = fastcgi::request(&backend.socket, &params, body.body, TIMEOUTS).await;
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
