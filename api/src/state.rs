//! What every handler works with.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wpclone_artifacts::Artifacts;
use wpclone_clones::Clones;
use wpclone_queue::Queue;
use wpclone_service::seal::Sealer;

use crate::history::History;
use crate::metrics::Metrics;
use crate::session::Sessions;
use crate::settings::PublicUrl;
use crate::tokens::Tokens;
use wpclone_service::holds::Holds;

/// What every handler works with, shared.
pub type Shared = Arc<App>;

/// What every handler works with.
pub struct App {
    /// The queue.
    pub queue: Queue,
    /// Pictures and pages that workers kept.
    pub artifacts: Artifacts,
    /// What provisioning workers publish of their clones.
    pub clones: Clones,
    /// Sessions of the dashboard.
    pub sessions: Sessions,
    /// Seals what requests bring, opens what results hold.
    pub sealer: Sealer,
    /// Whether callbacks are possible: there are secrets to sign them with.
    pub callbacks: bool,
    /// Who may call; `None`: everybody on this machine.
    pub tokens: Option<Tokens>,
    /// Our own address.
    pub public_url: PublicUrl,
    /// How much, and how long.
    pub limits: Limits,
    /// Event streams that callers hold open.
    pub streams: Holds,
    /// Answers that are held for `Prefer: wait`.
    pub waits: Holds,
    /// Counters of this process.
    pub metrics: Metrics,
    /// The queue's depth over the last hour.
    pub history: History,
    /// Cancelled when the program is to end.
    pub ending: CancellationToken,
}

/// How much, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long a client may take nothing of what is written to it.
    pub stalled: Duration,
    /// The longest `Prefer: wait`.
    pub wait: Duration,
    /// How many answers of one token are held for `Prefer: wait` at once; a further one is not held.
    pub waits: usize,
    /// How many event streams one token has at once.
    pub streams: usize,
    /// After so much silence an event stream says that it lives.
    pub keep_alive: Duration,
    /// How long an event stream lasts. Clients resume it, and are then looked up in the tokens file again.
    pub stream: Duration,
    /// How often to look again though nothing was signalled: signals may be lost.
    pub look_again: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 10,
            body_time: Duration::from_secs(10),
            stalled: Duration::from_secs(30),
            wait: Duration::from_secs(60),
            waits: 100,
            streams: 50,
            keep_alive: Duration::from_secs(15),
            stream: Duration::from_secs(30 * 60),
            look_again: Duration::from_secs(2),
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
    Clones(#[from] wpclone_clones::ClonesError),
    /// The sessions.
    #[error(transparent)]
    Sessions(#[from] crate::session::SessionError),
}
