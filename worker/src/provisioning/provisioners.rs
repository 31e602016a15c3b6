//! Which provisioner makes clones. Another one is a variant and an arm here, and a crate.

use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use wpclone_provision::Provisioner;
use wpclone_provision_local::{LocalOptions, LocalProvisioner};

use super::settings::ProvisioningSettings;

/// The provisioners that there are: the values of `WPCLONE_PROVISIONER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProvisionerKind {
    /// Processes of this machine.
    Local,
}

impl FromStr for ProvisionerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            _ => Err(format!("`{text}` is not a provisioner; this version has only local")),
        }
    }
}

/// The provisioner of these settings.
pub(crate) fn provisioner(settings: &ProvisioningSettings) -> Arc<dyn Provisioner> {
    match settings.kind {
        ProvisionerKind::Local => Arc::new(LocalProvisioner::new(LocalOptions {
            state_dir: settings.state_dir.clone(),
            wordpress_dir: settings.wordpress_dir.clone(),
            addresses: settings.addresses.clone(),
            max_clones: settings.max_clones,
            // This program is also the supervisor of its programs.
            supervisor: "/proc/self/exe".into(),
            clock: Arc::new(Timestamp::now),
        })),
    }
}
