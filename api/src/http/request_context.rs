//! Around every request: request id, span, metrics, error body and default headers.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use tracing::{Instrument as _, Span, field};
use wpclone_service::telemetry::continue_trace;

use crate::http::error::{ApiError, render_problem};
use crate::state::SharedApp;

/// The id of a request: an extension of it.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is accepted from a client.
const MAX_ID_LENGTH: usize = 128;

/// Requested every few seconds by machines: logged at debug level only.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Headers of every response unless its handler sets them. Scripts, styles and images may come from this origin only.
const DEFAULT_HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: forms would send `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Middleware: gives a request its id and span, counts it, and completes its response.
pub async fn with_request_context(
    State(app): State<SharedApp>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = method(request.method());
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("(none)", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        method,
        route,
        request_id = id,
        task.id = field::Empty,
        status = field::Empty,
        duration_ms = field::Empty,
    );
    let traceparent = request.headers().get("traceparent");
    continue_trace(&span, traceparent.and_then(|v| v.to_str().ok()));
    request.extensions_mut().insert(RequestId(id.clone()));

    let mut response = next.run(request).instrument(span.clone()).await;

    complete(&mut response, &id);
    let status = response.status().as_u16();
    let duration = started.elapsed();
    app.metrics.record(method, &route, status, duration);
    log(&span, &route, status, duration.as_millis());
    response
}

fn log(span: &Span, route: &str, status: u16, duration_ms: u128) {
    let duration_ms = u64::try_from(duration_ms).unwrap_or(u64::MAX);
    span.record("status", status).record("duration_ms", duration_ms);
    span.in_scope(|| match PROBES.contains(&route) {
        true => tracing::debug!("request finished"),
        false => tracing::info!("request finished"),
    });
}

/// The client's id when it is valid, otherwise a new one.
fn request_id(headers: &HeaderMap) -> String {
    let valid = |id: &&str| {
        (1..=MAX_ID_LENGTH).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let sent = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    sent.filter(valid).map_or_else(|| uuid::Uuid::now_v7().to_string(), ToOwned::to_owned)
}

/// The method as a metric label. Unknown methods share one, so that clients cannot create labels without end.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "(other)",
    }
}

fn complete(response: &mut Response, id: &str) {
    render_problem(response, id, "application/problem+json", |problem| {
        serde_json::to_string(problem).unwrap_or_default()
    });
    for (name, value) in DEFAULT_HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// The response to a panic in a handler.
#[must_use]
pub fn panic_response(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic's message went to standard error. It may hold anything, so it is not repeated.
    ApiError::internal("a handler panicked").into_response()
}
