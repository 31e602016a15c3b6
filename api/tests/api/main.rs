//! The API over HTTP, with a real Redis.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod access;
mod callbacks;
mod clones;
mod dashboard_pages;
mod events;
mod failures;
mod idempotency;
mod limits;
mod operations;
mod process;
mod replays;
mod requests;
mod secrets;
mod sessions;
mod support;
mod task_reads;
mod waits;
