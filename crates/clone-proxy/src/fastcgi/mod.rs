//! A FastCGI client: the responder role, one request per connection.

mod client;
mod record;
mod socket;

pub use client::{FastCgiError, FastCgiResponse, Params, Timeouts, request};
pub use socket::PhpSocket;
