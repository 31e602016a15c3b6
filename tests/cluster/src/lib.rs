#![doc = include_str!("../README.md")]

mod cluster;
mod namespace;
mod wait;

pub use cluster::{Cluster, TestCluster};
pub use namespace::Namespace;
pub use wait::{WAIT_LIMIT, wait_until};
