//! A FastCGI client: the responder role, one request per connection.

mod client;
mod record;

pub use client::{FastCgiError, FastCgiResponse, Params, Timeouts, request};
