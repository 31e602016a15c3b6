#![doc = include_str!("../README.md")]

mod address;
mod error;
mod fastcgi;
pub mod harness;
mod local;
mod provisioner;
mod proxy;

pub use address::{AddressError, Addresses, Routing};
pub use error::ProvisionError;
pub use local::{Local, LocalOptions};
pub use provisioner::{
    Access, Clock, CloneInfo, CloneSpec, Health, PhpLimits, Provisioner, Separation, SourceFacts, Swept,
    Unfinished,
};
pub use wpclone_task::{CloneName, CloneNameError, ClonePhase as Phase, Isolation};
