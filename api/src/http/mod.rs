//! HTTP: authentication, bodies, headers, errors, and what surrounds every request.

pub mod auth;
pub mod body;
pub mod error;
pub mod headers;
pub mod origin_check;
pub mod query;
pub mod request_context;
pub mod responses;
pub mod session_cookie;
