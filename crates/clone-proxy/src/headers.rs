//! Headers that must not pass the proxy.

use http::header::{CONNECTION, COOKIE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use wpclone_task::SESSION_COOKIES;

/// Hop-by-hop headers (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 5] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const OTHER_HOP_BY_HOP: [&str; 4] =
    ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"];
/// Headers that only a trusted proxy may set: any client can send them, and PHP would believe them.
const FORWARDING: [&str; 5] = ["forwarded", "x-real-ip", "proxy", "x-original-url", "x-rewrite-url"];
/// Response headers that are not the clone's to send. They rule its whole origin or domain, which it may share with other
/// clones and the dashboard, or they are meant for a server in front of us.
const NOT_THE_CLONES: [&str; 16] = [
    // The scope of a service worker is the folder of its script, and so within the clone.
    "service-worker-allowed",
    "clear-site-data",
    "strict-transport-security",
    "public-key-pins",
    "alt-svc",
    "nel",
    "report-to",
    "reporting-endpoints",
    "set-cookie2",
    "x-accel-buffering",
    "x-accel-redirect",
    "x-litespeed-location",
    "x-lighttpd-send-file",
    "x-reproxy-file",
    "x-reproxy-url",
    "x-sendfile",
];
/// The most bytes of the cookies of a request that a clone gets. PHP accepts parameters of up to 64 KiB.
const MAX_REQUEST_COOKIES: usize = 32 << 10;
/// The most cookies of a response, and the most bytes of them. Browsers keep some 180 of a domain, or of all its subdomains,
/// and drop others for new ones.
const MAX_SET_COOKIES: usize = 50;
const MAX_SET_COOKIE_BYTES: usize = 16 << 10;

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
    // Scripts of clones that share a host or a domain set cookies for all of them, any number. Browsers send those with the
    // longest path first, which are the clone's own.
    let mut left = MAX_REQUEST_COOKIES;
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| {
            !pair.is_empty() && !is_session_cookie(split_pair(pair).map_or(pair, |(name, _)| name))
        })
        .filter(|pair| take(&mut left, pair.len() + 2))
        .collect();
    let cookies = cookies.join(&b"; "[..]);
    headers.remove(COOKIE);
    if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::from_bytes(&cookies)) {
        headers.insert(COOKIE, value);
    }
}

/// Removes from a clone's response what it must not set. `clone_path` is the path of the clone's address.
pub(crate) fn clean_response(headers: &mut HeaderMap, clone_path: &str) {
    remove_hop_by_hop(headers);
    for name in NOT_THE_CLONES {
        headers.remove(name);
    }
    // Of cookies with the same name, browsers keep the last one.
    let cookies = headers.get_all(SET_COOKIE).iter().rev();
    let cookies = cookies.filter_map(|cookie| confine_cookie(cookie, clone_path));
    let mut left = MAX_SET_COOKIE_BYTES;
    let cookies = cookies.filter(|cookie| take(&mut left, cookie.len()));
    let cookies: Vec<HeaderValue> = cookies.take(MAX_SET_COOKIES).collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies.into_iter().rev() {
        headers.append(SET_COOKIE, cookie);
    }
}

/// Takes bytes of those that are left, if there are as many.
fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

/// Adds the headers that all responses have.
pub(crate) fn add_defaults(headers: &mut HeaderMap) {
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
}

/// A clone's cookie (RFC 6265), for its own host and its own path; `None`: it is named like the dashboard's session, or has
/// no name, so that its value would be sent as if it were a name and a value.
fn confine_cookie(cookie: &HeaderValue, clone_path: &str) -> Option<HeaderValue> {
    let mut parts = cookie.as_bytes().split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let pair = parts.next()?;
    let (name, _) = split_pair(pair)?;
    if name.is_empty() || is_session_cookie(name) {
        return None;
    }
    let (mut kept, mut path) = (vec![pair.to_vec()], None);
    for attribute in parts {
        let (name, value) = split_pair(attribute).unwrap_or((attribute, b""));
        if name.eq_ignore_ascii_case(b"path") {
            path = Some(value);
        } else if !name.eq_ignore_ascii_case(b"domain") {
            kept.push(attribute.to_vec());
        }
    }
    // Browsers replace any other path by that of the request, which is the clone's.
    if let Some(path) = path.filter(|path| path.starts_with(b"/")) {
        let own = clone_path.trim_end_matches('/').as_bytes();
        let below = path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        let path = if below { path.to_vec() } else { [own, b"/"].concat() };
        kept.push([b"Path=", path.as_slice()].concat());
    }
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
}

fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|b| *b == b'=')?;
    Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
}

fn is_session_cookie(name: &[u8]) -> bool {
    SESSION_COOKIES.iter().any(|session| name.eq_ignore_ascii_case(session.as_bytes()))
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
        for value in [
            "wpclone_session=forged; Path=/",
            "__Host-wpclone_session=forged; Path=/; Secure",
            " WPClone_Session = forged",
            "=wpclone_session=forged",
            "wpclone_session",
            "a=1",
        ] {
            response.append(SET_COOKIE, HeaderValue::from_static(value));
        }
        clean_response(&mut response, "/");
        assert_eq!(response.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=1"]);
    }

    #[test]
    fn cookies_that_are_too_many_or_too_large_do_not_pass() {
        let names = |headers: &HeaderMap, of: HeaderName| -> Vec<String> {
            let values = headers.get_all(of).iter().flat_map(|value| value.to_str().unwrap().split("; "));
            values.map(|pair| pair.split('=').next().unwrap().to_owned()).collect()
        };
        let numbered = |numbers: std::ops::Range<usize>| numbers.map(|n| format!("c{n}")).collect::<Vec<_>>();
        let with = |of: HeaderName, cookies: Vec<String>| -> HeaderMap {
            cookies.into_iter().map(|cookie| (of.clone(), HeaderValue::try_from(cookie).unwrap())).collect()
        };
        let mut many = with(SET_COOKIE, (0..180).map(|n| format!("c{n}=1")).collect());
        clean_response(&mut many, "/");
        assert_eq!(names(&many, SET_COOKIE), numbered(130..180), "the last ones, in their order");
        let value = "x".repeat(4000);
        let large = |n: usize| format!("c{n}={value}");
        let mut set =
            with(SET_COOKIE, (0..6).map(large).chain(["huge=".to_owned() + &value.repeat(5)]).collect());
        clean_response(&mut set, "/");
        assert_eq!(names(&set, SET_COOKIE), numbered(2..6));

        let sent: Vec<String> = (0..20).map(large).chain(["small=1".to_owned()]).collect();
        let mut sent = with(COOKIE, vec![sent.join("; ")]);
        clean_request(&mut sent);
        let mut expected = numbered(0..8);
        expected.push("small".to_owned());
        assert_eq!(names(&sent, COOKIE), expected, "the first ones, and what has room beside them");
    }

    #[test]
    fn a_clones_cookies_are_for_its_own_host_and_path() {
        let confined = |cookie: &'static str, path: &str| {
            let cookie = confine_cookie(&HeaderValue::from_static(cookie), path).unwrap();
            cookie.to_str().unwrap().to_owned()
        };
        for (cookie, expected) in [
            ("a=1; path=/", "a=1; Path=/at/c/"),
            ("a=1;Path=/; HttpOnly; Path=/at/c/x", "a=1; HttpOnly; Path=/at/c/x"),
            ("a=1; Path=/at/c/x; Path=/dashboard", "a=1; Path=/at/c/"),
            ("a=1; path=/at/c", "a=1; Path=/at/c"),
            ("a=1; path=/at/cc/", "a=1; Path=/at/c/"),
            ("a=b=c; domain=.example; Secure; SameSite=Lax", "a=b=c; Secure; SameSite=Lax"),
            ("a=1; Domain; DOMAIN = localhost; PATH = / ", "a=1; Path=/at/c/"),
            ("a=1; path=", "a=1"),
            ("a=1", "a=1"),
        ] {
            assert_eq!(confined(cookie, "/at/c"), expected, "{cookie}");
        }
        assert_eq!(confined("a=1; path=/wp-admin; domain=c.example", "/"), "a=1; Path=/wp-admin");
    }

    #[test]
    fn a_clone_sends_no_headers_for_its_whole_origin() {
        let mut headers = map(&[
            ("service-worker-allowed", "/"),
            ("clear-site-data", "\"cookies\""),
            ("strict-transport-security", "max-age=1"),
            ("alt-svc", "h2=\"evil.example:443\""),
            ("link", "<https://api.w.org/>"),
        ]);
        clean_response(&mut headers, "/");
        assert_eq!(headers, map(&[("link", "<https://api.w.org/>")]));
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
