//! Which provisioner creates clones. A second one is a crate, a variant of [`ProvisionerKind`] and an arm here.

use std::sync::Arc;

use jiff::Timestamp;
use wpclone_provision::Provisioner;
use wpclone_provision_local::{DatabaseLimits, LocalOptions, LocalProvisioner, ProxyOptions};

use super::settings::{ProvisionerKind, ProvisioningSettings};

/// The provisioner of these settings.
pub(crate) fn provisioner(settings: &ProvisioningSettings) -> Arc<dyn Provisioner> {
    match settings.kind {
        ProvisionerKind::Local => Arc::new(LocalProvisioner::new(LocalOptions {
            state_dir: settings.state_dir.clone(),
            wordpress_dir: settings.wordpress_dir.clone(),
            addresses: settings.addresses.clone(),
            max_clones: settings.max_clones,
            unsafe_no_sandbox: settings.unsafe_no_sandbox,
            disk: settings.disk,
            proxy: ProxyOptions { connections_per_peer: settings.connections_per_peer },
            // This program is also the supervisor of its programs.
            supervisor: "/proc/self/exe".into(),
            database: DatabaseLimits::default(),
            clock: Arc::new(Timestamp::now),
        })),
    }
}
