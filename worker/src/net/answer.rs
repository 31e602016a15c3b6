//! What a site answered, and what its form says whatever its language.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use url::Url;

use super::Page;

/// What pages show that want to see a person or a browser.
pub(crate) const CHALLENGE: &str = "#challenge-form, #cf-challenge-running, #challenge-running, #sg-captcha-form, \
     script[src*='/cdn-cgi/challenge-platform/'], form[action*='sgcaptcha'], meta[content*='sgcaptcha']";

/// An answer with a bounded body.
#[derive(Clone)]
pub(crate) struct Answer {
    /// Where it came from, redirects within the site followed.
    pub(crate) url: Url,
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Cut at the limit.
    pub(crate) body: Bytes,
    /// A redirect that leads out of the site, or that nobody followed.
    pub(crate) location: Option<Url>,
    parsed: Arc<Mutex<Parsed>>,
}

/// What is known of the body as a page.
#[derive(Default)]
enum Parsed {
    #[default]
    NotYet,
    No,
    Page(Page),
}

impl Answer {
    pub(crate) fn new(
        url: Url,
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
        location: Option<Url>,
    ) -> Self {
        Self { url, status, headers, body, location, parsed: Arc::default() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; HTML is never JSON, whatever it holds.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        let kind = self.header("content-type").unwrap_or_default();
        let is_json = kind.split(';').next().is_some_and(|k| k.trim().ends_with("json"));
        // serde_json refuses what is nested deeper than 128.
        if is_json { serde_json::from_slice(&self.body).ok() } else { None }
    }

    /// Reads the page; the default where the body cannot be parsed within bounds, so that nothing is found in it.
    pub(crate) fn page<T: Default>(&self, read: impl FnOnce(&Page) -> T) -> T {
        // Parsing takes up to a second: other tasks go on meanwhile.
        tokio::task::block_in_place(|| {
            let mut parsed = self.parsed.lock();
            if matches!(*parsed, Parsed::NotYet) {
                *parsed = Page::parse(&self.text()).map_or(Parsed::No, Parsed::Page);
            }
            match &*parsed {
                Parsed::Page(page) => read(page),
                _ => T::default(),
            }
        })
    }

    /// Whether WordPress shows `wp_die()`'s page (`body#error-page`).
    pub(crate) fn is_error_page(&self) -> bool {
        self.page(|p| p.has("body#error-page"))
    }

    /// Whether this is what visitors get where we should be logged in: the login form, or admin-ajax.php's "0".
    pub(crate) fn is_logged_out(&self) -> bool {
        let path = self.url.path();
        path.ends_with("/wp-login.php") && self.page(|p| p.has("#loginform"))
            || path.ends_with("/admin-ajax.php") && self.status == 400 && &self.body[..] == b"0"
    }

    /// Whether something in front of WordPress wants to see a person or a browser.
    pub(crate) fn is_challenge(&self) -> bool {
        self.header("cf-mitigated") == Some("challenge")
            || (self.status >= 400 || self.status == 202) && self.page(|p| p.has(CHALLENGE))
    }
}
