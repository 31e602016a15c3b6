#![doc = include_str!("../README.md")]
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod cluster;
mod disk;
mod options;
mod port;
mod process;
mod proxy;
mod redis;

pub use crate::cluster::Cluster;
pub use crate::options::{Fsync, Options, valkey};
pub use crate::process::Process;
pub use crate::proxy::{Direction, Proxy};
pub use crate::redis::Redis;

/// How often a fault or scenario is repeated: `WPCLONE_ROUNDS`, or `default` times.
///
/// # Panics
/// `WPCLONE_ROUNDS` is no number.
#[must_use]
pub fn rounds(default: usize) -> usize {
    std::env::var("WPCLONE_ROUNDS")
        .map_or(default, |rounds| rounds.parse().expect("WPCLONE_ROUNDS is a number"))
}
