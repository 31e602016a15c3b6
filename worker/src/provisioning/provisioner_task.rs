//! The task that runs the provisioner.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wpclone_provision::{MachineLocation, Provisioner};

use super::provisioners::provisioner;
use super::settings::ProvisioningSettings;

/// How long the programs of clones may take to end; after that their supervisors kill them.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

/// A provisioner that runs.
pub(crate) struct RunningProvisioner {
    pub(crate) provisioner: Arc<dyn Provisioner>,
    task: AbortOnDropHandle<()>,
    shutdown: CancellationToken,
}

impl RunningProvisioner {
    /// Starts the provisioner of these settings; `location` is where this worker runs. Its health says whether it works.
    pub(crate) fn start(settings: &ProvisioningSettings, location: MachineLocation) -> Self {
        let (provisioner, shutdown) = (provisioner(settings, location), CancellationToken::new());
        let (runs, stops) = (Arc::clone(&provisioner), shutdown.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move { runs.run(stops).await }));
        Self { provisioner, task, shutdown }
    }

    /// Ends the programs of clones; call it when no step needs them any more. The clones run again under the next process.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.task).await.is_err() {
            tracing::warn!("the programs of clones did not end in time");
        }
    }
}
