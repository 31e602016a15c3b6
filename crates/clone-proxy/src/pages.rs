//! Plain-text pages of the proxy itself.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A page with one sentence.
pub(crate) fn page(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page after which the connection is closed, because the request was not read to its end.
pub(crate) fn closing(status: StatusCode, text: &str) -> Response {
    let mut response = page(status, text);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Something is in use that another request needs.
pub(crate) fn busy(text: &str) -> Response {
    let mut response = closing(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// The clone is being started.
pub(crate) fn starting() -> Response {
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, "This clone is being started.");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// The clone is kept, but not run.
pub(crate) fn unreadable() -> Response {
    page(
        StatusCode::SERVICE_UNAVAILABLE,
        "This clone cannot be read at the moment; its operator has to check it.",
    )
}

/// The clone is kept, but not run any more.
pub(crate) fn stopped() -> Response {
    page(
        StatusCode::INSUFFICIENT_STORAGE,
        "This clone was stopped, because it takes more than it may: of the disk, of its database server, or of locks of files. It is kept until it expires or is deleted.",
    )
}

/// Whether a clone's PHP runs.
pub(crate) fn readiness(runs: bool) -> Response {
    if runs { page(StatusCode::OK, "PHP runs.") } else { starting() }
}

/// The clone has been deleted.
pub(crate) fn gone() -> Response {
    page(StatusCode::GONE, "This clone has expired or was deleted.")
}

/// No clone has this address.
pub(crate) fn no_such_clone() -> Response {
    page(StatusCode::NOT_FOUND, "There is no clone at this address.")
}

/// The request is addressed to a host that is not the clones' (RFC 9110, 15.5.20).
pub(crate) fn other_host() -> Response {
    closing(StatusCode::MISDIRECTED_REQUEST, "Clones are not served under this host name.")
}

/// Lets the browser remove what a clone that is gone stored in it, service workers above all: they would go on answering at
/// its address. Under path routing the clones share an origin, and with it what they store. So the removal is for people
/// who open the address and for service workers that are updated, and not for a page that contains it as a picture.
pub(crate) fn without_storage(mut page: Response, request: &HeaderMap) -> Response {
    let used_as = request.get("sec-fetch-dest").map(HeaderValue::as_bytes);
    if matches!(used_as, None | Some(b"document" | b"serviceworker")) {
        // Not `"cookies"`: those of the whole domain would be removed, the dashboard's too.
        let clear = HeaderValue::from_static("\"cache\", \"storage\"");
        page.headers_mut().insert("clear-site-data", clear);
    }
    page
}

/// Something failed on our side.
pub(crate) fn internal_error() -> Response {
    page(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong with this clone.")
}
