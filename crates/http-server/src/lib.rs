#![doc = include_str!("../README.md")]

mod acceptor;
mod authority;
mod connection_table;
mod lag;
mod limiter;
mod open_files;
mod server;
mod tracked;

pub use authority::{AuthorityError, request_authority};
pub use connection_table::ConnectionLimits;
pub use lag::{Lag, MIN_BYTES_PER_SECOND};
pub use limiter::{KeyedLimiter, Permit};
pub use open_files::{connections_within_open_files, raise_open_files_limit};
pub use server::{MAX_LAG, ServerOptions, serve};
pub use tracked::RequestBody;
