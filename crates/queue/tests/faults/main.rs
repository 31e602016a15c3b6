//! The queue's promises under faults: processes that are killed and frozen, servers and networks that fail, and
//! numbers that are too large to look at. `WPCLONE_ROUNDS` says how often each fault comes; a handful by default.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod disk;
mod kills;
mod load;
mod network;
mod other_servers;
mod pool_process;
mod properties;
#[path = "../queue/support.rs"]
#[expect(dead_code, reason = "the other stories use all of it")]
mod support;
mod worker_pool;
