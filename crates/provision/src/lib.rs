#![doc = include_str!("../README.md")]

mod address;
pub mod clone_runtime;
mod error;
mod provisioner;
mod types;

pub use address::{AddressError, Addresses, RouteError, Routed, Routing};
pub use error::ProvisionError;
pub use provisioner::{HasUnfinishedTask, Provisioner};
pub use types::{
    Access, CloneInfo, CloneSpec, EffectiveIsolation, Health, PhpLimits, SetAside, SourceFacts, SweepReport,
    UnreadableClone,
};
pub use wpclone_task::{
    CloneName, CloneNameError, ClonePhase as Phase, CloneProblem, CloneProblemKind, Isolation, SiteUrl,
    TaskId,
};
