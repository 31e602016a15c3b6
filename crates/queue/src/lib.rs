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
mod store;
mod types;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;

pub use error::QueueError;
pub use options::{OwnerLimits, QueueOptions, RetryPolicy};
pub use outcome::*;
pub use types::*;

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
    work: Listener,
    changed: Listener,
}

/// Passes the messages of a channel on. The task that does it is started by the first who wants them, and ended with
/// the last clone of the queue.
struct Listener {
    channel: Channel,
    sender: broadcast::Sender<Signal>,
    task: OnceLock<AbortHandle>,
}

impl Listener {
    fn new(channel: Channel) -> Self {
        Self { channel, sender: broadcast::channel(pubsub::BEHIND).0, task: OnceLock::new() }
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
    /// A URL that is none, or a name with braces.
    pub fn new(redis_url: &str, options: QueueOptions) -> Result<Self, QueueError> {
        let store = Store::new(redis_url, &options.name)?;
        let (work, changed) = (Listener::new(Channel::Work), Listener::new(Channel::Changed));
        Ok(Self { inner: Arc::new(Inner { store, options, work, changed }) })
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &QueueOptions {
        &self.inner.options
    }

    /// Hears of stages that have work. The connection behind it is shared by all receivers of this queue's clones.
    /// Each time it is made, the first included, [`Signal::Reconnected`] is sent: what was looked at before is to be
    /// looked at again. A receiver that hears `Lagged` does the same. Who has claimed until nothing was left hears of
    /// the next.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn subscribe_ready(&self) -> broadcast::Receiver<Signal> {
        self.inner.work.receiver(self.store())
    }

    /// Hears which tasks change; otherwise as [`Queue::subscribe_ready`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn subscribe_changes(&self) -> broadcast::Receiver<Signal> {
        self.inner.changed.receiver(self.store())
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Begins a call of a function that reads.
    fn read(&self, function: &'static str) -> Call {
        self.store().call(function)
    }

    /// Begins a call of a function that writes.
    fn write(&self, function: &'static str) -> Call {
        let mut call = self.store().call(function);
        call.arg(ms(self.options().secrets_retention));
        call
    }
}

/// Milliseconds, as functions take them.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
