//! Which provisioner creates clones. Another one is a crate, a variant of `ProvisionerKind` and an arm here.

use std::sync::Arc;

use jiff::Timestamp;
use wpclone_provision::{MachineLocation, Provisioner};
use wpclone_provision_kube::{KubeOptions, KubeProvisioner, WaitLimits};
use wpclone_provision_local::{DatabaseLimits, LocalOptions, LocalProvisioner, ProxyOptions};

use super::kro_settings::KroSettings;
use super::settings::ProvisioningSettings;

/// The provisioner of these settings; `location` is where this worker runs.
pub(crate) fn provisioner(
    settings: &ProvisioningSettings,
    location: MachineLocation,
) -> Arc<dyn Provisioner> {
    match &settings.kro {
        Some(kro) => Arc::new(KubeProvisioner::new(kube_options(settings, kro))),
        None => Arc::new(LocalProvisioner::new(LocalOptions {
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
            location,
            clock: Arc::new(Timestamp::now),
        })),
    }
}

fn kube_options(settings: &ProvisioningSettings, kro: &KroSettings) -> KubeOptions {
    KubeOptions {
        // KUBECONFIG, or the pod's own service account.
        kubeconfig: None,
        group: kro.group.clone(),
        namespace: kro.namespace.clone(),
        addresses: settings.addresses.clone(),
        images: kro.images.clone(),
        resources: kro.resources.clone(),
        runtime_class: kro.runtime_class.clone(),
        ingress: kro.ingress.clone(),
        database: kro.database.clone(),
        max_clones: settings.max_clones,
        limits: WaitLimits::default(),
        clock: Arc::new(Timestamp::now),
    }
}
