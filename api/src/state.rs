//! The state that every handler shares.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wpclone_artifacts::Artifacts;
use wpclone_clones::CloneRegistry;
use wpclone_http_server::KeyedLimiter;
use wpclone_queue::{Queue, QueueOptions};
use wpclone_service::seal::Sealer;
use wpclone_service::settings::Common;
use wpclone_task::ExposeSecret as _;

use crate::autoscaling::Autoscaling;
use crate::queue_history::QueueHistory;
use crate::request_metrics::RequestMetrics;
use crate::sessions::Sessions;
use crate::settings::PublicUrl;
use crate::tokens::Tokens;

/// The state as handlers get it.
pub type SharedApp = Arc<App>;

/// The state that every handler shares.
pub struct App {
    /// The queue.
    pub queue: Queue,
    /// Screenshots and reports that workers stored.
    pub artifacts: Artifacts,
    /// The registry of clones that provisioning workers publish.
    pub clones: CloneRegistry,
    /// Sessions of the dashboard.
    pub sessions: Sessions,
    /// Encrypts the secrets of requests and decrypts those of results.
    pub sealer: Sealer,
    /// Whether `callback_url` is accepted: webhook secrets are configured.
    pub callbacks_enabled: bool,
    /// The tokens; `None`: everybody on this machine has access.
    pub tokens: Option<Tokens>,
    /// The API's own address.
    pub public_url: PublicUrl,
    /// Limits and timeouts.
    pub limits: Limits,
    /// How an autoscaler sets the number of workers, if one does.
    pub autoscaling: Autoscaling,
    /// Open event streams, by token.
    pub event_streams: KeyedLimiter,
    /// Responses held for `Prefer: wait`, by token.
    pub prefer_waits: KeyedLimiter,
    /// Counters of this process.
    pub metrics: RequestMetrics,
    /// The queue's depth over the last hour.
    pub queue_history: QueueHistory,
    /// Cancelled when the program shuts down.
    pub shutdown: CancellationToken,
}

impl App {
    /// Creates the state. Nothing is connected yet: Redis may come later.
    ///
    /// # Errors
    /// The Redis URL is invalid.
    pub fn new(
        common: &Common,
        tokens: Option<Tokens>,
        public_url: PublicUrl,
        limits: Limits,
    ) -> Result<Self, SetupError> {
        let redis = common.redis_url.expose_secret();
        let queue = Queue::new(redis, QueueOptions::default())?;
        Ok(Self {
            artifacts: Artifacts::new(redis, common.artifacts_bytes)?,
            clones: CloneRegistry::new(redis)?,
            sessions: Sessions::new(redis, &queue.options().name)?,
            queue,
            sealer: common.sealer.clone(),
            callbacks_enabled: !common.webhook_secrets.is_empty(),
            tokens,
            public_url,
            limits,
            autoscaling: Autoscaling::default(),
            event_streams: KeyedLimiter::default(),
            prefer_waits: KeyedLimiter::default(),
            metrics: RequestMetrics::default(),
            queue_history: QueueHistory::default(),
            shutdown: CancellationToken::new(),
        })
    }
}

/// Limits and timeouts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// The timeout for receiving a body.
    pub body_timeout: Duration,
    /// The timeout for a client that reads nothing of its response.
    pub write_timeout: Duration,
    /// The longest `Prefer: wait`.
    pub max_wait: Duration,
    /// How many responses of one token are held for `Prefer: wait` at once; further ones are sent at once.
    pub waits_per_token: usize,
    /// How many event streams one token may have open.
    pub streams_per_token: usize,
    /// After so much silence an event stream sends a comment.
    pub keep_alive_interval: Duration,
    /// How long an event stream lasts. Clients reconnect, and their token is then checked again.
    pub stream_lifetime: Duration,
    /// How often a followed task is read again without a signal: signals may be lost.
    pub poll_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 10,
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            max_wait: Duration::from_secs(60),
            waits_per_token: 100,
            streams_per_token: 50,
            keep_alive_interval: Duration::from_secs(15),
            stream_lifetime: Duration::from_secs(30 * 60),
            poll_interval: Duration::from_secs(2),
        }
    }
}

/// Why the state cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] wpclone_queue::QueueError),
    /// The artifacts.
    #[error(transparent)]
    Artifacts(#[from] wpclone_artifacts::ArtifactError),
    /// The registry of clones.
    #[error(transparent)]
    Clones(#[from] wpclone_clones::RegistryError),
    /// The sessions.
    #[error(transparent)]
    Sessions(#[from] crate::sessions::SessionError),
}
