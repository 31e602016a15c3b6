//! Around every request: its id, its span, its numbers, and the last touch on its answer.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{self, ACCEPT, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use tracing::{Instrument as _, Span, field};
use wpclone_service::telemetry::continue_trace;
use wpclone_task::Problem;

use crate::dashboard;
use crate::state::SharedApp;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is taken from a client.
const MAX_ID: usize = 128;

/// WorkRequest every few seconds by machines: no news for the log.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What every answer carries unless its handler says otherwise. Scripts, styles and pictures come from here alone.
const DEFAULTS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: forms would then send `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Gives a request its id and span, counts it, and puts its answer into its last form.
pub async fn observe(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = method(request.method());
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("(none)", MatchedPath::as_str).to_owned();
    let as_page = dashboard::answers_as_page(&request, matched.is_some());
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

    let mut response = next.run(request).instrument(span.clone()).await;

    finish(&mut response, &id, as_page);
    let status = response.status().as_u16();
    let spent = started.elapsed();
    app.metrics.answered(method, &route, status, spent);
    note(&span, &route, status, spent.as_millis());
    response
}

fn note(span: &Span, route: &str, status: u16, duration_ms: u128) {
    let duration_ms = u64::try_from(duration_ms).unwrap_or(u64::MAX);
    span.record("status", status).record("duration_ms", duration_ms);
    span.in_scope(|| match PROBES.contains(&route) {
        true => tracing::debug!("answered"),
        false => tracing::info!("answered"),
    });
}

/// The client's own id when it is sane, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        (1..=MAX_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let sent = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    sent.filter(sane).map_or_else(|| uuid::Uuid::now_v7().to_string(), ToOwned::to_owned)
}

/// The methods that have a name in metrics; a client could invent others without end.
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

fn finish(response: &mut Response, id: &str, as_page: bool) {
    if let Some(mut problem) = response.extensions_mut().remove::<Box<Problem>>() {
        problem.instance = Some(id.to_owned());
        let (kind, text) = if as_page {
            ("text/html; charset=utf-8", dashboard::problem_page(&problem))
        } else {
            let json = serde_json::to_string(&problem).unwrap_or_default();
            ("application/problem+json", json)
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(text);
    }
    for (name, value) in DEFAULTS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// What a panic in a handler becomes.
#[must_use]
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic's own text went to standard error; it may be about anything, so it is not repeated.
    crate::http::error::ApiError::internal("a handler panicked").into_response()
}

/// Whether the client would rather see a page than JSON.
#[must_use]
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|a| a.split(',').next().is_some_and(|t| t.trim().starts_with("text/html")))
}
