//! What every handler works with.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wpclone_artifacts::Artifacts;
use wpclone_clones::CloneRegistry;
use wpclone_queue::Queue;
use wpclone_service::seal::Sealer;

use crate::metrics::Metrics;
use crate::queue_history::QueueHistory;
use crate::sessions::Sessions;
use crate::settings::PublicUrl;
use crate::tokens::Tokens;
use wpclone_service::limiter::KeyedLimiter;

/// What every handler works with, shared.
pub type SharedApp = Arc<App>;

/// What every handler works with.
pub struct App {
    /// The queue.
    pub queue: Queue,
    /// Pictures and pages that workers kept.
    pub artifacts: Artifacts,
    /// What provisioning workers publish of their clones.
    pub clones: CloneRegistry,
    /// Sessions of the dashboard.
    pub sessions: Sessions,
    /// Seals what requests bring, opens what results hold.
    pub sealer: Sealer,
    /// Whether callbacks are possible: there are secrets to sign them with.
    pub callbacks_enabled: bool,
    /// Who may call; `None`: everybody on this machine.
    pub tokens: Option<Tokens>,
    /// Our own address.
    pub public_url: PublicUrl,
    /// How much, and how long.
    pub limits: Limits,
    /// Event streams that callers hold open.
    pub event_streams: KeyedLimiter,
    /// Answers that are held for `Prefer: wait`.
    pub prefer_waits: KeyedLimiter,
    /// Counters of this process.
    pub metrics: Metrics,
    /// The queue's depth over the last hour.
    pub queue_history: QueueHistory,
    /// Cancelled when the program is to end.
    pub shutdown: CancellationToken,
}

/// How much, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// The longest `Prefer: wait`.
    pub max_wait: Duration,
    /// How many answers of one token are held for `Prefer: wait` at once; a further one is not held.
    pub waits_per_token: usize,
    /// How many event streams one token has at once.
    pub streams_per_token: usize,
    /// After so much silence an event stream says that it lives.
    pub keep_alive_interval: Duration,
    /// How long an event stream lasts. Clients resume it, and are then looked up in the tokens file again.
    pub stream_lifetime: Duration,
    /// How often to look again though nothing was signalled: signals may be lost.
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

/// Why there is nothing to work with.
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
