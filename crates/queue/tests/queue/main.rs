//! The queue's guarantees, tested against a real Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod cleanup_support;
mod deliveries;
mod endings;
mod kept_sessions;
mod leases;
mod lone_readers;
mod maintenance;
mod model;
mod owners;
mod producers;
mod recovery;
mod replays;
mod retries;
mod shared_cleanups;
mod shared_sites;
mod site_cleanups;
mod sites;
mod state_machine;
mod support;
mod versions;
mod waits;
