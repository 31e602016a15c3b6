//! What a site answered, and what its form says whatever its language.

use bytes::Bytes;
use scraper::{Html, Selector};
use serde::de::DeserializeOwned;
use url::Url;

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
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
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
        if is_json {
            serde_json::from_slice(&self.body).ok()
        } else {
            None
        }
    }

    /// Reads the page. Parsing megabytes takes a while: other tasks go on meanwhile.
    pub(crate) fn page<T>(&self, read: impl FnOnce(&Page) -> T) -> T {
        tokio::task::block_in_place(|| read(&Page(Html::parse_document(&self.text()))))
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
        const MARKS: &str = "#challenge-form, #cf-challenge-running, #challenge-running, #sg-captcha-form, \
             script[src*='/cdn-cgi/challenge-platform/'], form[action*='sgcaptcha'], meta[content*='sgcaptcha']";
        self.header("cf-mitigated") == Some("challenge")
            || (self.status >= 400 || self.status == 202) && self.page(|p| p.has(MARKS))
    }
}

/// A parsed page.
pub(crate) struct Page(Html);

impl Page {
    fn select(&self, css: &str) -> Option<scraper::ElementRef<'_>> {
        // Selectors are our own constants: one that does not parse finds nothing, and the tests with it.
        let selector = Selector::parse(css).ok()?;
        self.0.select(&selector).next()
    }

    pub(crate) fn has(&self, css: &str) -> bool {
        self.select(css).is_some()
    }

    /// An attribute of the first match.
    pub(crate) fn attr(&self, css: &str, name: &str) -> Option<String> {
        self.select(css)?.value().attr(name).map(str::to_owned)
    }

    /// The text of the first match, white space folded, at most 300 characters: evidence for people.
    pub(crate) fn evidence(&self, css: &str) -> Option<String> {
        let text: String = self.select(css)?.text().collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
        (!text.is_empty()).then_some(text)
    }

    /// Names and values of a form's hidden fields.
    pub(crate) fn hidden_fields(&self, form: &str) -> Vec<(String, String)> {
        let Ok(selector) = Selector::parse(&format!("{form} input[type=hidden][name]")) else {
            return Vec::new();
        };
        let field = |e: scraper::ElementRef<'_>| {
            Some((
                e.value().attr("name")?.to_owned(),
                e.value().attr("value").unwrap_or_default().to_owned(),
            ))
        };
        self.0.select(&selector).take(50).filter_map(field).collect()
    }

    /// WordPress' version as wp-admin's body class tells it (`version-6-8-7`).
    pub(crate) fn wordpress_version(&self) -> Option<String> {
        let body = self.select("body.wp-admin")?;
        let version = body.value().classes().find_map(|c| c.strip_prefix("version-"))?;
        let numbers: Vec<&str> = version
            .split('-')
            .take_while(|n| n.chars().all(|c| c.is_ascii_digit()))
            .collect();
        (!numbers.is_empty()).then(|| numbers.join("."))
    }
}
