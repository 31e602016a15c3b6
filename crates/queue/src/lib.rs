#![doc = include_str!("../README.md")]

mod claim;
mod error;
mod functions;
mod leased;
mod maintenance;
mod options;
mod outcome;
mod producer;
mod pubsub;
mod record;
mod sharing;
mod site_cleanup;
mod store;
mod types;
mod waits;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;

pub use claim::ClaimAttempt;
pub use error::QueueError;
pub use leased::MAX_RESULT_BYTES;
pub use options::{OwnerLimits, QueueOptions, RetryPolicy};
pub use outcome::*;
pub use sharing::SiteLeave;
pub use site_cleanup::{SiteCleanup, SiteCleanupClaim, TaskEnding, session_name};
pub use types::*;
pub use waits::{WaitCause, WaitingStep};

use functions::Call;
use pubsub::Channel;
use store::Store;

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    options: QueueOptions,
    ready: Listener,
    changes: Listener,
}

/// Forwards the messages of a channel. Its tokio task is started by the first receiver and aborted with the last clone of the
/// queue.
struct Listener {
    channel: Channel,
    sender: broadcast::Sender<Signal>,
    task: OnceLock<AbortHandle>,
}

impl Listener {
    fn new(channel: Channel) -> Self {
        Self { channel, sender: broadcast::channel(pubsub::CAPACITY).0, task: OnceLock::new() }
    }

    fn receiver(&self, store: &Store) -> broadcast::Receiver<Signal> {
        let receiver = self.sender.subscribe();
        self.task.get_or_init(|| {
            let (client, name) = (store.redis.client().clone(), store.key(self.channel.name()));
            tokio::spawn(pubsub::listen(client, self.channel, name, self.sender.clone())).abort_handle()
        });
        receiver
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Queue {
    /// A queue on this Redis. Connects when first used.
    ///
    /// # Errors
    /// The URL is invalid, or the name has braces.
    pub fn new(redis_url: &str, options: QueueOptions) -> Result<Self, QueueError> {
        let store = Store::new(redis_url, &options.name)?;
        let (ready, changes) = (Listener::new(Channel::StageReady), Listener::new(Channel::TaskChanged));
        Ok(Self { inner: Arc::new(Inner { store, options, ready, changes }) })
    }

    /// Its settings.
    #[must_use]
    pub fn options(&self) -> &QueueOptions {
        &self.inner.options
    }

    /// Receives [`Signal::StageReady`]. All receivers of a queue's clones share one connection. Each time it is made, the first
    /// included, [`Signal::Reconnected`] is sent: signals may have been missed, as after `Lagged`. A stage is signalled when
    /// a step becomes ready and its owner had none, so a worker that claims until nothing is left misses nothing.
    ///
    /// # Panics
    /// It is called outside a tokio runtime.
    pub fn subscribe_ready(&self) -> broadcast::Receiver<Signal> {
        self.inner.ready.receiver(self.store())
    }

    /// Receives [`Signal::TaskChanged`]; otherwise as [`Queue::subscribe_ready`].
    ///
    /// # Panics
    /// It is called outside a tokio runtime.
    pub fn subscribe_changes(&self) -> broadcast::Receiver<Signal> {
        self.inner.changes.receiver(self.store())
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    /// A call of a function that only reads.
    fn read_call(&self, function: &'static str) -> Call {
        self.store().call(function)
    }

    /// A call of a function that writes.
    fn write_call(&self, function: &'static str) -> Call {
        let mut call = self.store().call(function);
        call.arg(ms(self.options().secrets_retention));
        call
    }
}

/// Milliseconds, as functions take durations.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
