//! Plain-text pages of the proxy itself.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// A page with one sentence.
pub(crate) fn page(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
        "This clone was stopped, because it takes more of the disk than it may. It is kept until it expires or is deleted.",
    )
}

/// The clone has been deleted.
pub(crate) fn gone() -> Response {
    page(StatusCode::GONE, "This clone has expired or was deleted.")
}

/// No clone has this address.
pub(crate) fn no_such_clone() -> Response {
    page(StatusCode::NOT_FOUND, "There is no clone at this address.")
}

/// Something failed on our side.
pub(crate) fn internal_error() -> Response {
    page(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong with this clone.")
}
