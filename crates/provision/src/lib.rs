#![doc = include_str!("../README.md")]

mod address;
mod clone_account;
pub mod clone_image;
pub mod clone_runtime;
mod command;
mod database_client;
mod error;
mod owner_share;
mod php_limits;
mod prepared_transactions;
mod provisioner;
mod random;
mod source_config;
mod types;
mod wp_config;

pub use address::{AddressError, Addresses, RouteError, Routed, Routing};
pub use clone_account::{CloneAccount, DROP_WAIT_SECONDS, UserLimits};
pub use command::{clean_env, run_command};
pub use database_client::{DATABASE_CALL_TIMEOUT, DatabaseClient, DatabaseServerAddress};
pub use error::ProvisionError;
pub use owner_share::most_of_one_owner;
pub use php_limits::EffectivePhpLimits;
pub use provisioner::{HasUnfinishedTask, Provisioner};
pub use random::random_hex;
pub use source_config::SourceConfig;
pub use types::{
    Access, CloneInfo, CloneSpec, EffectiveIsolation, Health, PhpLimits, SetAside, SourceFacts, SweepReport,
    UnreadableClone,
};
pub use wp_config::{WpConfig, table_prefix, wp_config};
pub use wpclone_task::{
    CloneLocation, CloneName, CloneNameError, ClonePhase as Phase, CloneProblem, CloneProblemKind,
    ClusterCondition, ClusterLocation, ClusterPod, Isolation, MachineLocation, SiteUrl, TaskId,
};
