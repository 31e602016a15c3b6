//! Refuses requests of other origins' pages, and while no tokens are configured those that may come from elsewhere.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::ORIGIN;
use http::uri::Authority;
use http::{HeaderMap, Version};
use wpclone_http_server::request_authority;
use wpclone_task::Code;

use crate::http::error::ApiError;
use crate::state::{App, SharedApp};

/// Headers by which proxies tell of the client, besides those that [`is_forwarding`] knows by their form.
const FORWARDING: [&str; 6] =
    ["forwarded", "via", "x-real-ip", "x-original-host", "x-original-url", "cf-connecting-ip"];

/// Middleware: passes a request on or answers 400 or 403.
pub async fn check_origin(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<(), ApiError> {
    let authority = request_authority(request.uri(), request.headers()).map_err(|error| {
        ApiError::new(Code::BadParameter, format!("The request's host is not valid: {error}."))
    })?;
    if app.tokens.is_none() {
        check_local(authority.as_ref(), request)?;
    }
    check_page(app, authority.as_ref(), request)
}

/// Without tokens everybody who reaches the API is operator: only programs of this machine may.
fn check_local(authority: Option<&Authority>, request: &Request) -> Result<(), ApiError> {
    // nginx speaks HTTP/1.0 unless told otherwise, and adds no header. No current client of other kinds does.
    if request.headers().keys().any(|name| is_forwarding(name.as_str()))
        || request.version() < Version::HTTP_11
    {
        return Err(ApiError::new(
            Code::ForwardedRefused,
            "No tokens are configured, so requests that a proxy forwards are not served.",
        ));
    }
    // DNS rebinding: any page open in a browser on this machine could reach the API under a name of its own that
    // resolves to 127.0.0.1, but it cannot make the browser send another Host.
    if !authority.is_some_and(|a| is_loopback(a.host())) {
        return Err(ApiError::new(
            Code::HostRefused,
            "No tokens are configured, so only localhost and loopback addresses are served.",
        ));
    }
    Ok(())
}

/// Requests that a browser sends for a page of another origin: they carry the user's cookie when that origin is on the same
/// host or domain, as clones may be.
fn check_page(app: &App, authority: Option<&Authority>, request: &Request) -> Result<(), ApiError> {
    let (headers, changes) = (request.headers(), !request.method().is_safe());
    let refused = Err(ApiError::new(
        Code::OriginRefused,
        if changes {
            "A request that changes something must come from a page of this API."
        } else {
            "Pages of other origins may link to this API, and not load anything from it."
        },
    ));
    if is_of_other_origin(headers) && (changes || !is_link(headers)) {
        return refused;
    }
    let Some(origin) = headers.get(ORIGIN).filter(|_| changes) else { return Ok(()) };
    // Any name of the API is fine as long as the page was loaded under the same one.
    let requested = authority.map(|a| format!("{}://{a}", app.public_url.scheme()));
    let allowed = [Some(app.public_url.origin()), requested];
    if allowed.iter().flatten().any(|o| o.as_bytes() == origin.as_bytes()) { Ok(()) } else { refused }
}

/// Whether a browser says that another origin's page sends the request (Fetch Metadata). Other programs say nothing.
fn is_of_other_origin(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether the browser opens the address in a tab.
fn is_link(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &[u8]| headers.get(name).is_some_and(|v| v.as_bytes() == value);
    is("sec-fetch-mode", b"navigate") && is("sec-fetch-dest", b"document")
}

fn is_forwarding(name: &str) -> bool {
    FORWARDING.contains(&name)
        || ["x-forwarded", "x-envoy-", "x-amzn-"].iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with("client-ip")
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
