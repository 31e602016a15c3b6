//! What is refused before any handler sees it: foreign origins, and foreign hosts while there are no tokens.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use wpclone_task::Code;

use crate::http::error::ApiError;
use crate::state::{App, SharedApp};

/// Lets a request through, or answers 403.
pub async fn check_origin(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<(), ApiError> {
    let authority = authority(request);
    // Without tokens any page that a browser on this machine has open could reach us under a name of its own that
    // leads to 127.0.0.1 (DNS rebinding); it cannot make the browser send another Host.
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
    // Under which name we were called does not matter, as long as the page came from the same one.
    let here = authority.map(|a| format!("{}://{a}", app.public_url.scheme()));
    let own = [Some(app.public_url.origin()), here];
    if own.iter().flatten().any(|o| o.as_bytes() == origin.as_bytes()) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::OriginRefused,
        "A request that changes something must come from a page of this API.",
    ))
}

/// Whom the request is addressed to (RFC 9110, section 7.2).
fn authority(request: &Request) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    request.headers().get(HOST)?.to_str().ok()?.parse().ok()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "127.0.0.1.nip.example", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
