//! HTTP: authentication, bodies, headers, errors, and what surrounds every request.

pub mod auth;
pub mod body;
pub mod error;
pub mod headers;
pub mod observe;
pub mod origin_check;
pub mod query;
pub mod responses;
