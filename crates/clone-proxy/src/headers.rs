//! Headers that must not pass the proxy.

use http::header::{CONNECTION, COOKIE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The dashboard's session cookie: cookies ignore ports, and clones run PHP of strangers.
const SESSION_COOKIE: &str = "wpclone_session";

/// Hop-by-hop headers (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 5] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const OTHER_HOP_BY_HOP: [&str; 4] =
    ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"];
/// Headers that only a trusted proxy may set: any client can send them, and PHP would believe them.
const FORWARDING: [&str; 5] = ["forwarded", "x-real-ip", "proxy", "x-original-url", "x-rewrite-url"];

/// Removes from a request what the clone must not see.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    let untrusted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            // In PHP's variables `_` and `-` are the same.
            FORWARDING.contains(&name) || name.starts_with("x-forwarded-") || name.contains('_')
        })
        .cloned()
        .collect();
    for name in untrusted {
        headers.remove(name);
    }
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !is_session_cookie(pair))
        .collect();
    let cookies = cookies.join(&b"; "[..]);
    headers.remove(COOKIE);
    if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::from_bytes(&cookies)) {
        headers.insert(COOKIE, value);
    }
}

/// Removes from a response what a clone must not set, and adds the headers that all responses have.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove("x-accel-redirect");
    headers.remove("x-sendfile");
    let kept: Vec<HeaderValue> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|v| !is_session_cookie(v.as_bytes().trim_ascii()))
        .cloned()
        .collect();
    headers.remove(SET_COOKIE);
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow"));
    headers.entry("x-content-type-options").or_insert(HeaderValue::from_static("nosniff"));
}

fn is_session_cookie(pair: &[u8]) -> bool {
    let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(SESSION_COOKIE.as_bytes())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
    for name in OTHER_HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn the_dashboards_cookie_never_reaches_a_clone_nor_comes_from_one() {
        let mut headers = HeaderMap::new();
        for value in ["a=1; wpclone_session=secret;b=2", "WPCLONE_SESSION =x", " wpclone_session", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(value));
        }
        clean_request(&mut headers);
        assert_eq!(headers[COOKIE], "a=1; b=2; c=3");
        assert_eq!(headers.get_all(COOKIE).iter().count(), 1);
        let mut only = map(&[("cookie", "wpclone_session=secret")]);
        clean_request(&mut only);
        assert!(only.is_empty());
        let mut response = HeaderMap::new();
        for value in ["wpclone_session=forged; Path=/", "a=1"] {
            response.append(SET_COOKIE, HeaderValue::from_static(value));
        }
        clean_response(&mut response);
        assert_eq!(response.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=1"]);
    }

    #[test]
    fn forwarding_headers_do_not_reach_php() {
        let mut headers = map(&[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x_forwarded_host", "evil.example"),
            ("forwarded", "host=evil"),
            ("proxy", "http://evil"),
            ("connection", "keep-alive, x-secret"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }
}
