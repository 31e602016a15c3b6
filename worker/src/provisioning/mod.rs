//! The provisioning stage: [`stage`] runs its steps, [`registry_sync`] keeps the registry of clones up to date,
//! [`provisioners`] chooses what makes clones.

mod provisioners;
mod registry_sync;
mod running;
mod settings;
mod stage;

pub(crate) use registry_sync::RegistrySync;
pub(crate) use running::RunningProvisioner;
pub(crate) use settings::{ProvisioningArgs, ProvisioningSettings};
pub(crate) use stage::Provisioning;
