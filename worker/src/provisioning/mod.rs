//! The provisioning stage: [`stage`] runs its steps, [`registry_sync`] keeps the registry of clones up to date,
//! [`provisioners`] chooses what makes clones.

mod kro_settings;
mod provisioner_task;
mod provisioners;
mod registry_sync;
mod settings;
mod stage;

pub(crate) use provisioner_task::RunningProvisioner;
pub(crate) use registry_sync::RegistrySync;
pub(crate) use settings::{ProvisioningArgs, ProvisioningSettings};
pub(crate) use stage::Provisioning;
