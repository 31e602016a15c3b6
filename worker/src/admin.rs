//! Health, readiness and metrics, on a listener of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wpclone_http_server::{ConnectionLimits, MAX_LAG, ServerOptions};
use wpclone_provision::{Health, Provisioner};
use wpclone_queue::{Queue, QueueError};

use crate::browser::BrowserAvailability;
use crate::metrics::Metrics;

/// The most lines on single clones in the text of `/readyz`.
const MAX_LINES: usize = 50;

/// The limits of the listener: few clients, small requests.
const OPTIONS: ServerOptions = ServerOptions {
    connections: ConnectionLimits { total: 64, reserved_for_local: 0, per_peer: 32, max_lag: MAX_LAG },
    head_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(30),
    max_head_bytes: 16 << 10,
    max_headers: 64,
    unready_period: Duration::ZERO,
    drain_timeout: Duration::from_secs(1),
};

/// What the responses are made from.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) queue: Queue,
    pub(crate) metrics: Metrics,
    /// Whether the queue has accepted a report of this worker.
    pub(crate) registered: Arc<AtomicBool>,
    /// Present when this worker serves the provisioning stage.
    pub(crate) provisioner: Option<Arc<dyn Provisioner>>,
    /// Present when this worker serves the browser stage.
    pub(crate) browser: Option<BrowserAvailability>,
    /// Cancelled when the worker claims no new work.
    pub(crate) shutdown: CancellationToken,
}

/// Serves until `stop` is cancelled, which is later than the worker's shutdown.
pub(crate) async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) {
    let routes = routes(admin);
    let service = |_: SocketAddr| TowerToHyperService::new(routes.clone());
    wpclone_http_server::serve(listener, service, OPTIONS, stop).await;
}

/// The routes: `/healthz` (the process is alive), `/readyz` (it claims work), `/metrics`.
fn routes(admin: Admin) -> Router {
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
        Ok(()) if admin.registered.load(Ordering::Relaxed) => {
            (StatusCode::OK, format!("ready\n{}{}", clones(&admin).await, browser(&admin)))
        }
        Ok(()) => {
            (StatusCode::SERVICE_UNAVAILABLE, "this worker is not registered with the queue yet\n".into())
        }
        Err(error @ QueueError::OtherLayout(_)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Redis cannot be reached\n".into()),
    }
}

/// Why no clones can be created, what is set aside, and which clones do not work. The worker is ready all the same: it serves its other stages.
async fn clones(admin: &Admin) -> String {
    let Some(provisioner) = &admin.provisioner else { return String::new() };
    let mut text = match provisioner.health() {
        Health::Ready => String::new(),
        Health::Starting => "clones: the provisioner is starting\n".into(),
        Health::Waiting => "clones: another worker owns them\n".into(),
        Health::Unavailable(why) => format!("clones: unavailable, {why}\n"),
    };
    let set_aside = provisioner.set_aside().await;
    let kept =
        set_aside.clones.into_iter().map(|it| format!("{} is set aside and kept, {}", it.name, it.reason));
    let unclaimed =
        set_aside.unclaimed.into_iter().map(|what| format!("{what} belongs to no known clone and is kept"));
    let failing = provisioner.list().await.unwrap_or_default().into_iter().filter_map(|clone| {
        let problem = clone.problem?;
        Some(format!("{} is {}, {}", clone.name, problem.kind.as_str().replace('_', " "), problem.detail))
    });
    let lines: Vec<String> = kept.chain(unclaimed).chain(failing).collect();
    for line in lines.iter().take(MAX_LINES) {
        text.push_str(&format!("clones: {line}\n"));
    }
    if lines.len() > MAX_LINES {
        text.push_str(&format!("clones: {} more\n", lines.len() - MAX_LINES));
    }
    text
}

/// Why the browser stage is not served; the same holds for it.
fn browser(admin: &Admin) -> String {
    match admin.browser.as_ref().and_then(BrowserAvailability::missing) {
        None => String::new(),
        Some(reason) => format!("browser: not served, {reason}\n"),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        admin.metrics.text(),
    )
}
