//! A value that a task remembers across attempts, workers and replays.

use wpclone_queue::{Claim, Lease, Queue, QueueError};
use wpclone_task::{Code, Problem};

use crate::queue_retry::store_with_retry;

/// One checkpoint of a task.
#[derive(Clone)]
pub(crate) struct Checkpoint {
    queue: Queue,
    lease: Lease,
    name: String,
    /// What was stored when the step was claimed.
    pub(crate) stored: Option<String>,
}

impl Checkpoint {
    pub(crate) fn of(queue: &Queue, claim: &Claim, name: String) -> Self {
        let stored = claim.checkpoints.get(&name).cloned();
        Self { queue: queue.clone(), lease: claim.lease.clone(), name, stored }
    }

    /// Stores a value before something is done that a repeat must know of.
    ///
    /// # Errors
    /// The queue did not confirm it: it must not be done.
    pub(crate) async fn store(&self, value: &str) -> Result<(), Problem> {
        self.set(Some(value)).await.map_err(|error| {
            Problem::new(Code::WorkerFault, format!("The step's checkpoint cannot be stored: {error}."))
        })
    }

    /// Stores a value, or none, after something was done. A repeat that does not know of it is more careful than it has to be.
    pub(crate) async fn try_store(&self, value: Option<&str>) {
        if let Err(error) = self.set(value).await {
            tracing::warn!(%error, checkpoint = self.name, "a checkpoint cannot be stored");
        }
    }

    async fn set(&self, value: Option<&str>) -> Result<(), QueueError> {
        store_with_retry(|| self.queue.set_checkpoint(&self.lease, &self.name, value)).await
    }
}
