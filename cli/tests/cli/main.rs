//! Runs the `wpclone` program against a stub of the API whose replies each test defines. The end-to-end tests in
//! `tests/` run it against the real API.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod clones;
mod follow;
mod outcomes;
mod program;
mod replay;
mod rewrite;
mod secrets;
mod stub;
mod tables;
mod terminal;
