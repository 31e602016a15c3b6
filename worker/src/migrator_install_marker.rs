//! Whether a clone task has installed the migrator on a site, remembered across attempts, workers and replays as a
//! checkpoint of the task. It is stored before the upload, so that a repeat does not take its own upload for an earlier
//! one's.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use wpclone_queue::{Lease, Queue, QueueError};
use wpclone_task::{Code, Problem, Role};

/// The value of a checkpoint; without one, the task did not install the migrator.
const INSTALLED: &str = "installed";
const RETRIES: usize = 10;
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Whether this task has installed the migrator on one of its sites.
#[derive(Clone)]
pub(crate) struct MigratorInstallMarker {
    queue: Queue,
    lease: Lease,
    role: Role,
    /// Whether an earlier attempt, or an earlier run of the task, has installed it.
    pub(crate) was_installed: bool,
}

impl MigratorInstallMarker {
    pub(crate) fn of(queue: &Queue, claim: &wpclone_queue::Claim, role: Role) -> Self {
        Self {
            queue: queue.clone(),
            lease: claim.lease.clone(),
            role,
            was_installed: claim.checkpoints.get(&name(role)).is_some_and(|value| value == INSTALLED),
        }
    }

    /// Stores that the migrator is about to be installed on a site that has none.
    ///
    /// # Errors
    /// The queue did not confirm it: nothing may be uploaded.
    pub(crate) async fn set_installed(&self) -> Result<(), Problem> {
        let stored = self.store(Some(INSTALLED)).await;
        stored.map_err(|error| {
            Problem::new(Code::WorkerFault, format!("The step's checkpoint cannot be stored: {error}."))
        })
    }

    /// Stores that the migrator which this task installed is gone.
    pub(crate) async fn set_removed(&self) {
        if let Err(error) = self.store(None).await {
            tracing::warn!(%error, "the step's checkpoint cannot be deleted");
        }
    }

    async fn store(&self, value: Option<&str>) -> Result<(), QueueError> {
        let name = name(self.role);
        let store = || self.queue.set_checkpoint(&self.lease, &name, value);
        let retry = ConstantBuilder::default().with_delay(RETRY_DELAY).with_max_times(RETRIES);
        store.retry(retry).when(|error| matches!(error, QueueError::Unavailable(_))).await
    }
}

fn name(role: Role) -> String {
    format!("migrator.{role}")
}
