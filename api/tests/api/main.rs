//! The api as its callers know it, with a real Redis.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod access;
mod asking;
mod callbacks;
mod canary;
mod clones;
mod events;
mod failing;
mod limits;
mod once;
mod operations;
mod pages;
mod program;
mod reading;
mod replaying;
mod support;
