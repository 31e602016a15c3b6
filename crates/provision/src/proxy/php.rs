//! Requests that PHP answers.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use url::Url;

use super::{Called, pages};
use crate::Routing;
use crate::fastcgi::{self, Fault, Limits};
use crate::local::{Entry, MOST_UPLOAD};

/// The most bytes of a body whose length is not told beforehand: PHP has to know it, so it is kept until it is there.
const MOST_UNTOLD: usize = 16 << 20;
/// How long a request waits until the clone has a place for it.
const PLACE_LIMIT: Duration = Duration::from_secs(30);

/// PHP's own limit is shorter: it can still say so itself.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    head: Duration::from_secs(340),
    part: Duration::from_secs(120),
};

/// What every request says of the server, by the clone's canonical address: whatever else the request was sent to,
/// WordPress sees this one.
pub(crate) fn server_params(url: &Url) -> Vec<(String, Vec<u8>)> {
    let port = url.port_or_known_default().unwrap_or(80);
    let mut params: Vec<(String, Vec<u8>)> = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", "wpclone"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REDIRECT_STATUS", "200"),
        ("REQUEST_SCHEME", url.scheme()),
        ("SERVER_NAME", url.host_str().unwrap_or_default()),
        ("SERVER_PORT", &port.to_string()),
        ("QUERY_STRING", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .to_vec();
    if url.scheme() == "https" {
        params.push(("HTTPS".to_owned(), b"on".to_vec()));
    }
    params
}

/// Runs a script of the clone; `info` is what follows it in the path.
pub(crate) async fn run(
    to: &Called<'_>,
    request: Request<Incoming>,
    script: &Path,
    info: &[u8],
) -> Result<Response, Response> {
    let (head, body) = request.into_parts();
    let (length, body) = sized(&head, body).await?;
    let params = params(to, &head, length, script, info);
    let place = timeout(PLACE_LIMIT, to.entry.places.acquire()).await;
    let place = place.ok().and_then(Result::ok).ok_or_else(|| {
        pages::page(StatusCode::SERVICE_UNAVAILABLE, "This clone has too many requests at once.")
    })?;
    let asked = fastcgi::ask(&to.entry.seat.socket(), &params, body, LIMITS).await;
    let answer = asked.map_err(|fault| failed(to.entry, &fault))?;
    let body = if head.method == Method::HEAD { Body::empty() } else { answer.body };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
    // Places are for who waits; whoever reads an answer is one of the connections.
    drop::<SemaphorePermit<'_>>(place);
    Ok(response)
}

fn failed(entry: &Entry, fault: &Fault) -> Response {
    tracing::debug!(clone = %entry.info().name, %fault, "PHP did not answer");
    match fault {
        Fault::Connect(_) => pages::not_yet(),
        Fault::Late => pages::page(StatusCode::GATEWAY_TIMEOUT, "This clone's PHP did not answer in time."),
        Fault::Broken(_) | Fault::Io(_) => {
            pages::page(StatusCode::BAD_GATEWAY, "This clone's PHP broke off before it answered.")
        }
    }
}

/// The body and its length.
async fn sized(head: &http::request::Parts, body: Incoming) -> Result<(u64, Body), Response> {
    let too_large = || pages::page(StatusCode::PAYLOAD_TOO_LARGE, "This is more than a clone takes at once.");
    let told = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    match told {
        Some(length) if length > MOST_UPLOAD => Err(too_large()),
        Some(length) => Ok((length, Body::new(body))),
        None if hyper::body::Body::is_end_stream(&body) => Ok((0, Body::empty())),
        None => {
            let whole = Limited::new(Body::new(body), MOST_UNTOLD).collect();
            let whole = timeout(LIMITS.part, whole).await;
            let whole = whole.map_err(|_| {
                pages::page(StatusCode::REQUEST_TIMEOUT, "The request's body did not come in time.")
            })?;
            let bytes = whole.map_err(|_| too_large())?.to_bytes();
            Ok((bytes.len() as u64, Body::from(bytes)))
        }
    }
}

/// What PHP is told: RFC 3875, and what nginx and Apache say beyond it.
fn params(
    to: &Called<'_>,
    head: &http::request::Parts,
    length: u64,
    script: &Path,
    info: &[u8],
) -> Vec<(String, Vec<u8>)> {
    let seat = &to.entry.seat;
    // Together they are the script's file, in both forms.
    let (root, prefix) = match to.by {
        Routing::Path => (seat.www(), format!("/{}", to.entry.info().name)),
        Routing::Host => (seat.tree(), String::new()),
    };
    let above = to.url.path().trim_end_matches('/').strip_suffix(&prefix).unwrap_or_default();
    let name = [above.as_bytes(), prefix.as_bytes(), b"/", script.as_os_str().as_bytes()].concat();
    let request_uri = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut params = server_params(to.url);
    params.retain(|(name, _)| name != "QUERY_STRING");
    let mut set = |name: &str, value: &[u8]| params.push((name.to_owned(), value.to_vec()));
    set("DOCUMENT_ROOT", root.as_os_str().as_bytes());
    set("SCRIPT_FILENAME", seat.tree().join(script).as_os_str().as_bytes());
    set("SCRIPT_NAME", &name);
    set("DOCUMENT_URI", &[&name, info].concat());
    if !info.is_empty() {
        set("PATH_INFO", info);
    }
    set("REQUEST_METHOD", head.method.as_str().as_bytes());
    set("REQUEST_URI", request_uri.as_bytes());
    set("QUERY_STRING", head.uri.query().unwrap_or_default().as_bytes());
    set("CONTENT_LENGTH", if length > 0 { length.to_string() } else { String::new() }.as_bytes());
    set("CONTENT_TYPE", head.headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes));
    set("REMOTE_ADDR", to.peer.ip().to_canonical().to_string().as_bytes());
    set("REMOTE_PORT", to.peer.port().to_string().as_bytes());
    let host = to.url.host_str().unwrap_or_default();
    let authority = to.url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    set("HTTP_HOST", authority.as_bytes());
    for header in head.headers.keys() {
        if [CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING].contains(header) {
            continue;
        }
        let values: Vec<&[u8]> =
            head.headers.get_all(header).iter().map(http::HeaderValue::as_bytes).collect();
        let variable = format!("HTTP_{}", header.as_str().to_ascii_uppercase().replace('-', "_"));
        set(&variable, &values.join(&b", "[..]));
    }
    params
}
