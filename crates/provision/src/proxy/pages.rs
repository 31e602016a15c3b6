//! Answers of our own, in plain words.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// A plain page.
pub(crate) fn page(status: StatusCode, says: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{says}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The clone is being started.
pub(crate) fn not_yet() -> Response {
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, "This clone is being started.");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// Something is wrong on our side.
pub(crate) fn broken() -> Response {
    page(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong with this clone.")
}
