//! The command line as a person or a script meets it, against a stub of the API: a server that speaks the
//! API's shapes and does what each test says. The real API is met in the tests of `tests/`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod clones;
mod following;
mod outcomes;
mod replaying;
mod rewriting;
mod run;
mod secrets;
mod stub;
mod tables;
mod terminal;
