//! A site's response, and what its structure says whatever the site's language is.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use url::Url;

use super::HtmlPage;

/// What pages contain that check for a person or a browser.
pub(crate) const CHALLENGE: &str = "#challenge-form, #cf-challenge-running, #challenge-running, #sg-captcha-form, \
     script[src*='/cdn-cgi/challenge-platform/'], form[action*='sgcaptcha'], meta[content*='sgcaptcha']";

/// A response with a bounded body.
#[derive(Clone)]
pub(crate) struct SiteResponse {
    /// The address it came from, after redirects within the site.
    pub(crate) url: Url,
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Truncated at the limit.
    pub(crate) body: Bytes,
    /// A redirect to another site, or one that was not followed.
    pub(crate) location: Option<Url>,
    parsed: Arc<Mutex<Parsed>>,
}

/// The body as a page.
#[derive(Default)]
enum Parsed {
    #[default]
    NotYet,
    Failed,
    Page(HtmlPage),
}

impl SiteResponse {
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

    /// The body as JSON. HTML is never read as JSON, whatever it contains.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        let kind = self.header("content-type").unwrap_or_default();
        let is_json = kind.split(';').next().is_some_and(|k| k.trim().ends_with("json"));
        // serde_json rejects what is nested deeper than 128.
        if is_json { serde_json::from_slice(&self.body).ok() } else { None }
    }

    /// Reads the page. Returns the default when the body cannot be parsed within bounds, as if nothing was found.
    pub(crate) fn page<T: Default>(&self, read: impl FnOnce(&HtmlPage) -> T) -> T {
        // Parsing takes up to a second: other tasks must go on meanwhile.
        tokio::task::block_in_place(|| {
            let mut parsed = self.parsed.lock();
            if matches!(*parsed, Parsed::NotYet) {
                *parsed = HtmlPage::parse(&self.text()).map_or(Parsed::Failed, Parsed::Page);
            }
            match &*parsed {
                Parsed::Page(page) => read(page),
                _ => T::default(),
            }
        })
    }

    /// Whether this is the page of `wp_die()` (`body#error-page`).
    pub(crate) fn is_error_page(&self) -> bool {
        self.page(|p| p.has("body#error-page"))
    }

    /// Whether this is what visitors get who are not logged in: the login form, or the "0" of admin-ajax.php.
    pub(crate) fn is_logged_out(&self) -> bool {
        let path = self.url.path();
        path.ends_with("/wp-login.php") && self.page(|p| p.has("#loginform"))
            || path.ends_with("/admin-ajax.php") && self.status == 400 && &self.body[..] == b"0"
    }

    /// Whether a firewall in front of WordPress checks for a person or a browser.
    pub(crate) fn is_challenge(&self) -> bool {
        self.header("cf-mitigated") == Some("challenge")
            || (self.status >= 400 || self.status == 202) && self.page(|p| p.has(CHALLENGE))
    }
}
