//! FastCGI, the responder role, one request a connection.
//!
//! Of our own, because the crates there are write the whole body before they read the answer (PHP may answer without
//! reading), take a broken connection for an answer's end, and log what they send.

mod client;
mod record;

pub(crate) use client::{Fault, Limits, ask};
