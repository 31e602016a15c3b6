#![doc = include_str!("../README.md")]

mod cgi_params;
mod cluster;
mod directory;
pub mod fastcgi;
mod headers;
mod htaccess;
mod name_service;
mod pages;
mod php_handler;
mod request_body;
mod request_path;
mod resource;
mod router;
mod server;
mod spool_space;
mod static_file;

pub use cgi_params::server_params;
pub use cluster::ClusterClones;
pub use directory::{Backend, BackendState, CloneDirectory, ClonePermits, NoBackend};
pub use name_service::look_up;
pub use request_body::MAX_BODY_BYTES;
pub use resource::is_hidden;
pub use server::{ProxyOptions, serve, serve_cluster};
