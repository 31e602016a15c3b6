//! The stage that makes and unmakes clones: [`stage`] does its steps, [`Running`] is the provisioner that they ask.

mod settings;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wpclone_provision::{Local, LocalOptions, Provisioner};

pub(crate) use settings::{ProvisioningArgs, ProvisioningSettings};
pub(crate) use stage::Provisioning;

/// How long its programs may take to end; their guards see to it that nothing stays, should it take longer.
const END: Duration = Duration::from_secs(15);

/// A provisioner at work.
pub(crate) struct Running {
    pub(crate) provisioner: Arc<dyn Provisioner>,
    running: AbortOnDropHandle<()>,
    ending: CancellationToken,
}

impl Running {
    /// Starts the provisioner of these settings. It says itself whether it can work.
    pub(crate) fn start(settings: &ProvisioningSettings) -> Self {
        let local = Local::new(LocalOptions {
            state_dir: settings.state_dir.clone(),
            wordpress_dir: settings.wordpress_dir.clone(),
            addresses: settings.addresses.clone(),
            max_clones: settings.max_clones,
            // This program is the guard of its programs.
            guard: "/proc/self/exe".into(),
            clock: Arc::new(Timestamp::now),
        });
        let (own, ending) = (Arc::clone(&local), CancellationToken::new());
        let end = ending.clone();
        let running = AbortOnDropHandle::new(tokio::spawn(async move { own.run(end).await }));
        Self { provisioner: local, running, ending }
    }

    /// Ends it once no step needs it any more; clones come back with the next owner.
    pub(crate) async fn end(self) {
        self.ending.cancel();
        if tokio::time::timeout(END, self.running).await.is_err() {
            tracing::warn!("the programs of clones did not end in time");
        }
    }
}
