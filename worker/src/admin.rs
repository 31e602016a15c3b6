//! Health, readiness and metrics, on a listener of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use wpclone_provision::{Health, Provisioner};
use wpclone_queue::Queue;

use crate::metrics::Metrics;

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) queue: Queue,
    pub(crate) metrics: Metrics,
    /// Whether the queue has heard of this worker.
    pub(crate) known: Arc<AtomicBool>,
    /// Makes clones, where the worker serves that stage.
    pub(crate) provisioner: Option<Arc<dyn Provisioner>>,
    /// Cancelled when the worker takes no new work.
    pub(crate) shutdown: CancellationToken,
}

/// The routes: `/healthz` (the process lives), `/readyz` (it takes work), `/metrics`.
pub(crate) fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(admin))
}

async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    if admin.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into());
    }
    match admin.queue.ping().await {
        Ok(()) if admin.known.load(Ordering::Relaxed) => {
            (StatusCode::OK, format!("ready\n{}", clones(&admin).await))
        }
        Ok(()) => (StatusCode::SERVICE_UNAVAILABLE, "the queue has not heard of this worker yet\n".into()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Redis cannot be reached\n".into()),
    }
}

/// Why no clones can be created, and what is set aside. The worker is ready all the same: it serves its other stages.
async fn clones(admin: &Admin) -> String {
    let Some(provisioner) = &admin.provisioner else { return String::new() };
    let mut text = match provisioner.health() {
        Health::Ready => String::new(),
        Health::Starting => "clones: the provisioner is starting\n".into(),
        Health::Waiting => "clones: another worker has them\n".into(),
        Health::Unavailable(why) => format!("clones: unavailable, {why}\n"),
    };
    let set_aside = provisioner.set_aside().await;
    for clone in set_aside.clones {
        text.push_str(&format!("clones: {} is set aside and kept, {}\n", clone.name, clone.reason));
    }
    for what in set_aside.unclaimed {
        text.push_str(&format!("clones: {what} belongs to no known clone and is kept\n"));
    }
    text
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        admin.metrics.text(),
    )
}
