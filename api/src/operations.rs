//! What an operator and an orchestrator ask.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use wpclone_task::{Problem, QueueView};

use crate::http::auth::MetricsReader;
use crate::http::error::ApiError;
use crate::state::SharedApp;

/// How long Redis may take to answer a probe.
pub(crate) const PROBE: Duration = Duration::from_secs(2);

/// Whether this program should get requests.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether it should.
    pub ready: bool,
    /// Whether Redis answers.
    pub redis: bool,
    /// Whether the program is about to end.
    pub ending: bool,
}

/// Alive
///
/// Whether the program runs. Open to all.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", security(()),
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain"))
)]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready
///
/// Whether the program should get requests: Redis answers, and it is not about to end. Open to all.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", security(()),
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    )
)]
pub async fn readyz(State(app): State<SharedApp>) -> Response {
    let ending = app.shutdown.is_cancelled();
    let redis = matches!(timeout(PROBE, app.queue.ping()).await, Ok(Ok(())));
    let ready = redis && !ending;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, redis, ending })).into_response()
}

/// The queue now
///
/// Depths by stage, and the workers. Needs the scope metrics or operator.
#[utoipa::path(
    get, path = "/queue", operation_id = "read_queue", tag = "operations",
    responses(
        (status = 200, description = "Depths and workers", body = QueueView),
        crate::openapi::TurnedAway,
        (status = 503, description = "Redis does not answer", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn queue(State(app): State<SharedApp>, _: MetricsReader) -> Result<Json<QueueView>, ApiError> {
    Ok(Json(app.queue.stats().await?))
}
