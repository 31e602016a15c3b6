#![doc = include_str!("../README.md")]

mod produce;
mod record;
mod scripts;
mod signals;
mod store;
mod types;
mod upkeep;
mod work;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::{Script, ScriptInvocation};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

pub use types::*;

use store::Store;

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    options: QueueOptions,
    sender: broadcast::Sender<Signal>,
    /// The task that listens; started by the first who wants signals, ended with the last clone of the queue.
    listener: OnceLock<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
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
        let (sender, _) = broadcast::channel(signals::BEHIND);
        Ok(Self { inner: Arc::new(Inner { store, options, sender, listener: OnceLock::new() }) })
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &QueueOptions {
        &self.inner.options
    }

    /// Hears what changes. The connection behind it is shared by all receivers of this queue's clones. Each time it
    /// is made, the first included, [`Signal::Reconnected`] is sent: what was looked at before is to be looked at
    /// again. A receiver that hears `Lagged` does the same.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn signals(&self) -> broadcast::Receiver<Signal> {
        let receiver = self.inner.sender.subscribe();
        self.inner.listener.get_or_init(|| {
            let Store { client, .. } = &self.inner.store;
            let listening =
                signals::listen(client.clone(), self.inner.store.key("signal"), self.inner.sender.clone());
            tokio::spawn(listening).abort_handle()
        });
        receiver
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Begins a call of a script that reads.
    fn read<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        self.store().call(script)
    }

    /// Begins a call of a script that writes.
    fn write<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = self.store().call(script);
        call.arg(ms(self.options().keep_secrets));
        call
    }
}

/// Milliseconds, as scripts take them.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
