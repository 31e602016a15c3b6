//! The api as its callers know it, with a real Redis.

mod access;
mod asking;
mod canary;
mod events;
mod failing;
mod operations;
mod pages;
mod program;
mod reading;
mod support;
