#![doc = include_str!("../README.md")]

mod cluster;
mod forward;
mod namespace;
mod wait;

pub use cluster::{Cluster, TestCluster};
pub use forward::Forward;
pub use namespace::Namespace;
pub use wait::{WAIT_LIMIT, wait_until, wait_until_within};
