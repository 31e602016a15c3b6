//! The queue's guarantees under faults: processes that are killed and frozen, servers and networks that fail, and large
//! numbers of tasks. `WPCLONE_ROUNDS` sets how often each fault occurs; a handful by default.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod disk;
mod kills;
mod load;
mod network;
mod other_servers;
mod pool_process;
mod properties;
#[path = "../queue/support.rs"]
#[expect(dead_code, reason = "the tests in `queue` use all of it")]
mod support;
mod worker_pool;
