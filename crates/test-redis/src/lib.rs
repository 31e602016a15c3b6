#![doc = include_str!("../README.md")]
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

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

/// How often a fault comes, or a life is lived: `own` times, or as often as `WPCLONE_ROUNDS` says.
///
/// # Panics
/// It says no number.
#[must_use]
pub fn rounds(own: usize) -> usize {
    std::env::var("WPCLONE_ROUNDS").map_or(own, |rounds| rounds.parse().expect("WPCLONE_ROUNDS is a number"))
}
