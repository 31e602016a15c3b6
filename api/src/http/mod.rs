//! What every answer and every request has in common.

pub mod auth;
pub mod body;
pub mod error;
pub mod headers;
pub mod observe;
pub mod origin_check;
pub mod query;
