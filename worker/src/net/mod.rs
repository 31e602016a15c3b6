//! Connections to sites and callbacks: an egress proxy that enforces which networks are allowed, and HTTP clients that
//! use it.

mod direct;
mod egress_policy;
mod egress_proxy;
mod html;
mod networks;
mod site_client;
mod site_connection;
mod site_request;
mod site_response;

pub(crate) use direct::direct_client;
pub(crate) use egress_policy::{EgressPolicy, EgressRules, OwnClones};
pub(crate) use egress_proxy::{ConnectOutcome, EgressProxy, normalize_host};
pub(crate) use html::HtmlPage;
pub(crate) use networks::AllowedNetworks;
pub(crate) use site_client::{SESSION_COOKIE, SiteClient, certificate_fault, proxied_client};
pub(crate) use site_request::{Body, SiteRequest};
pub(crate) use site_response::{CHALLENGE, SiteResponse};

/// How this program identifies itself.
pub(crate) const PRODUCT: &str = concat!("wpclone/", env!("CARGO_PKG_VERSION"));
