//! Whether a clone task has installed the migrator on a site, remembered across attempts, workers and replays as a
//! checkpoint of the task. It is stored before the upload, so that a repeat does not take its own upload for an earlier
//! one's.

use wpclone_queue::{Claim, Queue};
use wpclone_task::{Problem, Role};

use crate::checkpoint::Checkpoint;

/// The value of a checkpoint; without one, the task did not install the migrator.
const INSTALLED: &str = "installed";

/// Whether this task has installed the migrator on one of its sites.
#[derive(Clone)]
pub(crate) struct MigratorInstallMarker {
    checkpoint: Checkpoint,
    /// Whether an earlier attempt, or an earlier run of the task, has installed it.
    pub(crate) was_installed: bool,
}

impl MigratorInstallMarker {
    pub(crate) fn of(queue: &Queue, claim: &Claim, role: Role) -> Self {
        let checkpoint = Checkpoint::of(queue, claim, format!("migrator.{role}"));
        let was_installed = checkpoint.stored.as_deref() == Some(INSTALLED);
        Self { checkpoint, was_installed }
    }

    /// Stores that the migrator is about to be installed on a site that has none.
    ///
    /// # Errors
    /// The queue did not confirm it: nothing may be uploaded.
    pub(crate) async fn set_installed(&self) -> Result<(), Problem> {
        self.checkpoint.store(INSTALLED).await
    }

    /// Stores that the migrator which this task installed is gone.
    pub(crate) async fn set_removed(&self) {
        self.checkpoint.try_store(None).await;
    }
}
