#![doc = include_str!("../README.md")]

mod log_writer;
pub mod seal;
pub mod sealed_clone;
pub mod sealed_task;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod webhook;
