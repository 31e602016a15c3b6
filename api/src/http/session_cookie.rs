//! The cookie of the dashboard's session.
//!
//! Cookies know no ports, and a page may set one for every path of its host: where clones are served on the API's host,
//! their pages can plant a session cookie beside the user's own. A request with two is therefore without a session. Under
//! https the cookie's prefix keeps everybody else from setting it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use wpclone_task::{HOST_SESSION_COOKIE, SESSION_COOKIE};
use zeroize::Zeroizing;

use crate::settings::PublicUrl;
use crate::state::SharedApp;

/// The most paths for which planted cookies are removed by one response.
const MAX_PATHS: usize = 16;

/// The session cookies of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentSession {
    /// None.
    None,
    /// One, with this id.
    One(Zeroizing<String>),
    /// Several. It cannot be known which of them the user signed in with.
    Several,
}

/// The session cookies of a request. Other cookies may hold any bytes.
#[must_use]
pub fn read(public_url: &PublicUrl, headers: &HeaderMap) -> SentSession {
    let name = name(public_url).as_bytes();
    let lines = headers.get_all(COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';')).map(<[u8]>::trim_ascii);
    let mut ids = pairs.filter_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        (pair[..at].trim_ascii() == name).then(|| &pair[at + 1..])
    });
    match (ids.next(), ids.next()) {
        (None, _) => SentSession::None,
        (Some(id), None) => SentSession::One(Zeroizing::new(String::from_utf8_lossy(id).into_owned())),
        (Some(_), Some(_)) => SentSession::Several,
    }
}

/// The header that sets the cookie for so many seconds; 0 removes it.
#[must_use]
pub fn set(public_url: &PublicUrl, id: &str, seconds: u64) -> Option<HeaderValue> {
    with_path(public_url, id, seconds, "/")
}

/// Middleware: where a request has several session cookies, the response removes them all, so that signing in again helps.
pub async fn remove_ambiguous(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let several = read(&app.public_url, request.headers()) == SentSession::Several;
    let paths = if several { cookie_paths(request.uri().path()) } else { Vec::new() };
    let mut response = next.run(request).await;
    // Signing in sets the only one that stays.
    for path in paths {
        let is_set = path == "/" && response.headers().contains_key(SET_COOKIE);
        if let (false, Some(removal)) = (is_set, with_path(&app.public_url, "", 0, &path)) {
            response.headers_mut().append(SET_COOKIE, removal);
        }
    }
    response
}

fn name(public_url: &PublicUrl) -> &'static str {
    if public_url.is_https() { HOST_SESSION_COOKIE } else { SESSION_COOKIE }
}

fn with_path(public_url: &PublicUrl, id: &str, seconds: u64, path: &str) -> Option<HeaderValue> {
    let (name, secure) = (name(public_url), if public_url.is_https() { "; Secure" } else { "" });
    let cookie = format!("{name}={id}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::from_str(&cookie).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// The paths of cookies that a request to this path is sent with (RFC 6265, 5.1.4): each folder, with and without a slash.
fn cookie_paths(path: &str) -> Vec<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~%".contains(&b);
    let mut paths = vec!["/".to_owned()];
    if path.bytes().all(plain) {
        for (at, _) in path.match_indices('/').skip(1) {
            paths.extend([path[..at].to_owned(), path[..=at].to_owned()]);
        }
        paths.push(path.to_owned());
    }
    paths.dedup();
    paths.truncate(MAX_PATHS);
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(url: &str, cookies: &[&'static [u8]]) -> SentSession {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_bytes(cookie).unwrap());
        }
        read(&PublicUrl::parse(url).unwrap(), &headers)
    }

    #[test]
    fn a_request_has_no_session_one_or_several() {
        let one = |id: &str| SentSession::One(Zeroizing::new(id.to_owned()));
        let (http, https) = ("http://a.example", "https://a.example");
        for (url, cookies, expected) in [
            (http, &[&b"a=1; wpclone_session=x"[..]][..], one("x")),
            (http, &[b"wpclone_session=x; wpclone_session=x"], SentSession::Several),
            (http, &[b"wpclone_session=x", b" wpclone_session =y"], SentSession::Several),
            (http, &[b"planted=\xff\xfe; wpclone_session=x"], one("x")),
            (http, &[b"__Host-wpclone_session=x; wpclone_sessions=y; wpclone_session"], SentSession::None),
            (https, &[b"__Host-wpclone_session=x; wpclone_session=planted"], one("x")),
            (https, &[b"wpclone_session=x"], SentSession::None),
            (https, &[], SentSession::None),
        ] {
            assert_eq!(sent(url, cookies), expected, "{url} {cookies:?}");
        }
    }

    #[test]
    fn planted_cookies_are_removed_for_every_path_they_may_have() {
        assert_eq!(cookie_paths("/"), ["/"]);
        assert_eq!(
            cookie_paths("/dashboard/tasks/7"),
            ["/", "/dashboard", "/dashboard/", "/dashboard/tasks", "/dashboard/tasks/", "/dashboard/tasks/7"]
        );
        assert_eq!(cookie_paths("/a;b"), ["/"]);
        assert_eq!(cookie_paths(&"/a".repeat(100)).len(), MAX_PATHS);
    }

    #[test]
    fn under_https_the_cookie_has_the_prefix_that_only_this_host_can_set() {
        let of = |url: &str| {
            let set = set(&PublicUrl::parse(url).unwrap(), "id", 9).unwrap();
            set.to_str().unwrap().to_owned()
        };
        assert_eq!(
            of("https://a.example"),
            "__Host-wpclone_session=id; Path=/; Max-Age=9; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            of("http://a.example"),
            "wpclone_session=id; Path=/; Max-Age=9; HttpOnly; SameSite=Strict"
        );
    }
}
