//! GET /queue: the queue's depth and the workers.

use axum::Json;
use axum::extract::State;
use wpclone_queue::QueueError;
use wpclone_task::{Problem, QueueView};

use crate::http::auth::MetricsReader;
use crate::http::error::ApiError;
use crate::http::responses::AccessErrors;
use crate::state::{App, SharedApp};
use crate::tasks::waits;

/// Read the queue
///
/// Depth by stage, the workers, why steps wait, and what ended tasks have left on sites. Needs the scope `metrics` or `operator`.
#[utoipa::path(
    get, path = "/queue", operation_id = "read_queue", tag = "operations",
    responses(
        (status = 200, description = "Depth and workers", body = QueueView),
        AccessErrors,
        (status = 503, description = "Redis does not respond", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn queue(
    State(app): State<SharedApp>,
    MetricsReader(caller): MetricsReader,
) -> Result<Json<QueueView>, ApiError> {
    let (mut queue, site_cleanups) = tokio::try_join!(stats(&app), app.queue.site_cleanups())?;
    let waits = match caller.is_operator() {
        true => waits::first(&app, &caller, &queue).await?,
        false => {
            // Waits name sites and tasks; what a worker lacks names its programs, folders and servers.
            queue.workers.iter_mut().for_each(|worker| worker.unavailable.clear());
            Vec::new()
        }
    };
    Ok(Json(QueueView { site_cleanups, waits, ..queue }))
}

/// Depths and workers, with how many workers the autoscaler wants.
///
/// # Errors
/// Redis does not respond.
pub async fn stats(app: &App) -> Result<QueueView, QueueError> {
    let mut queue = app.queue.stats().await?;
    for (stage, depth) in &mut queue.stages {
        depth.workers_wanted = app.autoscaling.wanted(*stage, depth.outstanding);
    }
    Ok(queue)
}
