//! GET /queue: the queue's depth and the workers.

use axum::Json;
use axum::extract::State;
use wpclone_task::{Problem, QueueView};

use crate::http::auth::MetricsReader;
use crate::http::error::ApiError;
use crate::http::responses::AccessErrors;
use crate::state::SharedApp;

/// Read the queue
///
/// Depth by stage, the workers, and what ended tasks have left on sites. Needs the scope `metrics` or `operator`.
#[utoipa::path(
    get, path = "/queue", operation_id = "read_queue", tag = "operations",
    responses(
        (status = 200, description = "Depth and workers", body = QueueView),
        AccessErrors,
        (status = 503, description = "Redis does not respond", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn queue(State(app): State<SharedApp>, _: MetricsReader) -> Result<Json<QueueView>, ApiError> {
    let (queue, site_cleanups) = tokio::try_join!(app.queue.stats(), app.queue.site_cleanups())?;
    Ok(Json(QueueView { site_cleanups, ..queue }))
}
