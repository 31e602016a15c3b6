//! GET /healthz and GET /readyz: liveness and readiness.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use wpclone_queue::QueueError;

use crate::operations::PROBE_TIMEOUT;
use crate::state::SharedApp;

/// Whether this program is ready for requests.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether it is ready: Redis responds and it is not shutting down.
    pub ready: bool,
    /// Whether Redis responds.
    pub redis: bool,
    /// Whether the program is shutting down.
    pub shutting_down: bool,
    /// Why Redis cannot be used, when its data has another layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Liveness
///
/// 200 as long as the program runs. Needs no token.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", security(()),
    responses((status = 200, description = "The program runs", body = String, content_type = "text/plain"))
)]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Readiness
///
/// Whether the program is ready for requests: Redis responds, and it is not shutting down. Needs no token.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", security(()),
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    )
)]
pub async fn readyz(State(app): State<SharedApp>) -> Response {
    let shutting_down = app.shutdown.is_cancelled();
    let pinged = timeout(PROBE_TIMEOUT, app.queue.ping()).await;
    let redis = matches!(pinged, Ok(Ok(())));
    let problem = match pinged {
        Ok(Err(QueueError::OtherLayout(error))) => Some(error.to_string()),
        _ => None,
    };
    let ready = redis && !shutting_down;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, redis, shutting_down, problem })).into_response()
}
