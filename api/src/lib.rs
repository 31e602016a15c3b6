#![doc = include_str!("../README.md")]

pub mod background;
pub mod clones;
pub mod dashboard;
pub mod docs;
pub mod http;
pub mod openapi;
pub mod operations;
pub mod queue_history;
pub mod request_metrics;
pub mod router;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod state;
pub mod tasks;
pub mod tokens;
