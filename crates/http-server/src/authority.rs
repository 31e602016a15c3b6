//! The host that a request is addressed to.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// Why a request has no definite host. The response is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// More than one Host header.
    #[error("there are several Host headers")]
    Several,
    /// The host is not `name`, `name:port`, `address` or `address:port`.
    #[error("the host is invalid")]
    Invalid,
    /// The target has another host than the Host header.
    #[error("the request's target and its Host header differ")]
    Different,
}

/// The host and port that a request is addressed to (RFC 9110, 7.2), in its target or in its Host header; `None`:
/// neither has one.
///
/// RFC 9112, 3.2.2 prefers the target where the two differ. Programs in front of this one may choose the other, so that is
/// an error here.
///
/// # Errors
/// The host is not definite.
pub fn request_authority(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, AuthorityError> {
    let mut sent = headers.get_all(HOST).into_iter();
    let header = sent.next().map(|value| parse(value.as_bytes())).transpose()?;
    if sent.next().is_some() {
        return Err(AuthorityError::Several);
    }
    let Some(target) = uri.authority() else { return Ok(header) };
    let target = parse(target.as_str().as_bytes())?;
    match header {
        Some(header) if header != target => Err(AuthorityError::Different),
        _ => Ok(Some(target)),
    }
}

/// Without a login, and with a port that is a number. `Authority` compares without regard to case.
fn parse(text: &[u8]) -> Result<Authority, AuthorityError> {
    let authority = Authority::try_from(text).map_err(|_| AuthorityError::Invalid)?;
    let (host, whole) = (authority.host(), authority.as_str());
    let rest = whole.strip_prefix(host).ok_or(AuthorityError::Invalid)?;
    let has_valid_port = rest.is_empty() || (rest.starts_with(':') && authority.port_u16().is_some());
    if !is_host(host) || !has_valid_port {
        return Err(AuthorityError::Invalid);
    }
    Ok(authority)
}

/// A name or an address. A URL's host may have more characters, which no name in use has.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(target: &str, hosts: &[&'static str]) -> Result<Option<String>, AuthorityError> {
        let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_static(host)));
        let headers = hosts.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        });
        let found = request_authority(&target.parse().unwrap(), &headers)?;
        Ok(found.map(|authority| authority.as_str().to_owned()))
    }

    #[test]
    fn a_request_has_one_host_in_its_target_or_its_header() {
        for (target, hosts, expected) in [
            ("/", &["a.example"][..], Ok(Some("a.example"))),
            ("/", &["a.example:8080"], Ok(Some("a.example:8080"))),
            ("/", &["[::1]:80"], Ok(Some("[::1]:80"))),
            ("http://a.example/x", &["A.example"], Ok(Some("a.example"))),
            ("http://a.example/x", &[], Ok(Some("a.example"))),
            ("/", &[], Ok(None)),
            ("/", &["a.example", "a.example"], Err(AuthorityError::Several)),
            ("http://a.example/", &["b.example"], Err(AuthorityError::Different)),
            ("http://a.example/", &["a.example:81"], Err(AuthorityError::Different)),
            ("http://me@a.example/", &["a.example"], Err(AuthorityError::Invalid)),
            ("/", &["me@a.example"], Err(AuthorityError::Invalid)),
            ("/", &["a.example:x"], Err(AuthorityError::Invalid)),
            ("/", &["a.example:99999"], Err(AuthorityError::Invalid)),
            ("/", &["a.example/x"], Err(AuthorityError::Invalid)),
            ("/", &["a.example,b.example"], Err(AuthorityError::Invalid)),
            ("/", &["a example"], Err(AuthorityError::Invalid)),
            ("/", &["[a.example]"], Err(AuthorityError::Invalid)),
            ("/", &["a%2eexample"], Err(AuthorityError::Invalid)),
            ("/", &[""], Err(AuthorityError::Invalid)),
            ("/", &[":80"], Err(AuthorityError::Invalid)),
        ] {
            assert_eq!(of(target, hosts), expected.map(|e| e.map(str::to_owned)), "{target} {hosts:?}");
        }
    }
}
