#![doc = include_str!("../README.md")]

pub mod background;
pub mod clones;
pub mod dashboard;
pub mod docs;
pub mod http;
pub mod metrics;
pub mod openapi;
pub mod operations;
pub mod queue_history;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod state;
pub mod tasks;
pub mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;
use wpclone_artifacts::Artifacts;
use wpclone_clones::CloneRegistry;
use wpclone_queue::{Queue, QueueOptions};
use wpclone_service::settings::Common;
use wpclone_task::{Code, ExposeSecret as _};

use crate::http::error::ApiError;
use crate::http::{observe, origin_check};
use crate::sessions::Sessions;
use crate::settings::PublicUrl;
use crate::state::{App, Limits, SetupError, SharedApp};
use crate::tokens::Tokens;
use wpclone_service::limiter::KeyedLimiter;

/// What handlers work with. Nothing is connected yet: Redis may come later.
///
/// # Errors
/// A Redis URL that is none.
pub fn app(
    common: &Common,
    tokens: Option<Tokens>,
    public_url: PublicUrl,
    limits: Limits,
) -> Result<App, SetupError> {
    let redis = common.redis_url.expose_secret();
    let queue = Queue::new(redis, QueueOptions::default())?;
    Ok(App {
        artifacts: Artifacts::new(redis, common.artifacts_bytes)?,
        clones: CloneRegistry::new(redis)?,
        sessions: Sessions::new(redis, &queue.options().name)?,
        queue,
        sealer: common.sealer.clone(),
        callbacks_enabled: !common.webhook_secrets.is_empty(),
        tokens,
        public_url,
        limits,
        event_streams: KeyedLimiter::default(),
        prefer_waits: KeyedLimiter::default(),
        metrics: metrics::Metrics::default(),
        queue_history: queue_history::QueueHistory::default(),
        shutdown: tokio_util::sync::CancellationToken::new(),
    })
}

/// The whole service: the API and the dashboard.
pub fn router(app: &SharedApp) -> Router {
    layered(routes(), app)
}

/// Every route of the service.
pub fn routes() -> Router<SharedApp> {
    let (api, _) = openapi::routes().split_for_parts();
    api.merge(dashboard::routes())
}

/// Routes with everything around them that each request passes: what no route knows, foreign callers, panics, ids.
pub fn layered(routes: Router<SharedApp>, app: &SharedApp) -> Router {
    routes
        .fallback(|| async { ApiError::new(Code::NotFound, "There is nothing at this path.") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(Code::MethodNotAllowed, "This address exists, but not for this method.")
        })
        .layer(from_fn_with_state(Arc::clone(app), origin_check::check_origin))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(Arc::clone(app), observe::observe))
        .with_state(Arc::clone(app))
}
