//! Refuses requests from other origins, and under other hosts than loopback while no tokens are configured.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use wpclone_task::Code;

use crate::http::error::ApiError;
use crate::state::{App, SharedApp};

/// Middleware: passes a request on or answers 403.
pub async fn check_origin(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<(), ApiError> {
    let authority = authority(request);
    // DNS rebinding: any page open in a browser on this machine could reach the API under a name of its own that
    // resolves to 127.0.0.1, but it cannot make the browser send another Host.
    if app.tokens.is_none() && !authority.as_ref().is_some_and(|a| is_loopback(a.host())) {
        return Err(ApiError::new(
            Code::HostRefused,
            "No tokens are configured, so only localhost and loopback addresses are served.",
        ));
    }
    if request.method().is_safe() {
        return Ok(());
    }
    let Some(origin) = request.headers().get(ORIGIN) else {
        return Ok(());
    };
    // Any name of the API is fine as long as the page was loaded under the same one.
    let requested = authority.map(|a| format!("{}://{a}", app.public_url.scheme()));
    let allowed = [Some(app.public_url.origin()), requested];
    if allowed.iter().flatten().any(|o| o.as_bytes() == origin.as_bytes()) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::OriginRefused,
        "A request that changes something must come from a page of this API.",
    ))
}

/// The host and port that the request is addressed to (RFC 9110, section 7.2).
fn authority(request: &Request) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    request.headers().get(HOST)?.to_str().ok()?.parse().ok()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_loopback_addresses_are_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "127.0.0.1.nip.example", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
