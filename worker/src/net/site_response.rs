//! A site's response, and what its structure says whatever the site's language is.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::{DeserializeOwned, IgnoredAny};
use url::Url;

use super::HtmlPage;

/// What pages contain that check for a person or a browser.
pub(crate) const CHALLENGE: &str = "#challenge-form, #cf-challenge-running, #challenge-running, #sg-captcha-form, \
     script[src*='/cdn-cgi/challenge-platform/'], form[action*='sgcaptcha'], meta[content*='sgcaptcha']";

/// Where JSON may begin in a body that has something around it: so many places are tried.
const MAX_JSON_STARTS: usize = 32;
/// So many of them may begin something that does not end before the body does, because each is read to the body's end.
const MAX_CUT_JSON: usize = 4;
/// What may follow a word: so many comments and tags are taken off.
const MAX_TRAILERS: usize = 32;

/// How long a web server that admits no more requests is left alone when it does not say how long.
const DEFAULT_PAUSE: Duration = Duration::from_secs(2);

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

    /// The last word (letters and digits) of the text; comments and tags that follow it are taken off. What comes before
    /// it, such as a byte order mark, blank lines or notices of PHP, does not matter.
    pub(crate) fn last_word(&self) -> String {
        last_word(&self.text()).to_owned()
    }

    /// The body as JSON, without what PHP or a plugin printed around it. HTML is never read as JSON, whatever it contains.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        let kind = self.header("content-type").unwrap_or_default();
        let is_json = kind.split(';').next().is_some_and(|k| k.trim().ends_with("json"));
        // serde_json rejects what is nested deeper than 128.
        if !is_json {
            return None;
        }
        let whole = serde_json::from_slice(&self.body).ok();
        whole.or_else(|| serde_json::from_slice(surrounded_json(&self.body)?).ok())
    }

    /// Whether the body is JSON, as [`Self::json`] reads it. Nothing of it is kept.
    pub(crate) fn is_json(&self) -> bool {
        self.json::<IgnoredAny>().is_some()
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

    /// Whether a web server wrote this page about its status, and neither WordPress nor a plugin did: it is empty, or its
    /// title begins with the status, as those of nginx, Apache and others do.
    pub(crate) fn is_by_server(&self) -> bool {
        let status = self.status.to_string();
        self.body.trim_ascii().is_empty()
            || self.page(|p| {
                p.text("title").is_some_and(|title| title.trim_start().starts_with(&status)) && !p.has("form")
            })
    }

    /// How long the site asks to wait (RFC 9110, section 10.2.3: seconds, or a date), if it admits no more requests for the
    /// moment.
    pub(crate) fn pause(&self) -> Option<Duration> {
        if !matches!(self.status, 429 | 503) {
            return None;
        }
        let retry_after = self.header("retry-after").map(str::trim).and_then(|value| {
            let seconds = value.parse().ok().map(Duration::from_secs);
            let date = || {
                Some(
                    httpdate::parse_http_date(value)
                        .ok()?
                        .duration_since(SystemTime::now())
                        .unwrap_or_default(),
                )
            };
            seconds.or_else(date)
        });
        retry_after.or_else(|| self.is_by_server().then_some(DEFAULT_PAUSE))
    }

    /// Whether this is what visitors get who are not logged in: the login form, or the "0" of admin-ajax.php.
    pub(crate) fn is_logged_out(&self) -> bool {
        let path = self.url.path();
        path.ends_with("/wp-login.php") && self.page(|p| p.has("#loginform"))
            || path.ends_with("/admin-ajax.php") && self.status == 400 && self.last_word() == "0"
    }

    /// Whether a firewall in front of WordPress checks for a person or a browser.
    pub(crate) fn is_challenge(&self) -> bool {
        self.header("cf-mitigated") == Some("challenge")
            || (self.status >= 400 || self.status == 202) && self.page(|p| p.has(CHALLENGE))
    }
}

/// The longest object or array in a body that is not JSON as a whole. What begins a line, or follows a tag, is preferred to
/// what stands within a text.
fn surrounded_json(body: &[u8]) -> Option<&[u8]> {
    let (mut best, mut at, mut cut) = (None::<(bool, usize, &[u8])>, 0, 0);
    for _ in 0..MAX_JSON_STARTS {
        let Some(skipped) = body[at..].iter().position(|byte| matches!(byte, b'{' | b'[')) else { break };
        let start = at + skipped;
        let mut values = serde_json::Deserializer::from_slice(&body[start..]).into_iter::<IgnoredAny>();
        at = start + 1;
        match values.next() {
            Some(Ok(_)) => {
                at = start + values.byte_offset();
                let is_apart =
                    !body[..start].last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b' ');
                let found = (is_apart, at - start, &body[start..at]);
                if best.is_none_or(|best| (best.0, best.1) < (found.0, found.1)) {
                    best = Some(found);
                }
            }
            Some(Err(error)) if error.is_eof() => {
                cut += 1;
                if cut == MAX_CUT_JSON {
                    break;
                }
            }
            _ => {}
        }
    }
    best.map(|(_, _, json)| json)
}

fn last_word(text: &str) -> &str {
    let mut rest = text;
    for _ in 0..MAX_TRAILERS {
        rest = rest.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let trailer = if rest.ends_with("-->") { "<!--" } else { "<" };
        match rest.rfind(trailer).filter(|_| rest.ends_with('>')) {
            Some(start) => rest = &rest[..start],
            None => break,
        }
    }
    &rest[rest.trim_end_matches(|c: char| c.is_ascii_alphanumeric()).len()..]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn json_of(body: &str) -> Option<Value> {
        let kind = ("content-type".to_owned(), "application/json; charset=UTF-8".to_owned());
        let url = "https://a.example/".parse().unwrap();
        SiteResponse::new(url, 200, vec![kind], Bytes::from(body.to_owned()), None).json()
    }

    fn response(status: u16, retry_after: Option<&str>, body: &'static str) -> SiteResponse {
        let headers = retry_after.map(|value| ("retry-after".to_owned(), value.to_owned()));
        let url = "https://a.example/".parse().unwrap();
        SiteResponse::new(
            url,
            status,
            headers.into_iter().collect(),
            Bytes::from_static(body.as_bytes()),
            None,
        )
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pause_is_what_the_site_asks_for_or_a_web_servers_page_means() {
        let nginx = "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center>\
            <h1>503 Service Temporarily Unavailable</h1></center><hr><center>nginx</center></body></html>";
        let plugin = "<html><head><title>Locked</title></head><body>Too many attempts.</body></html>";
        assert_eq!(response(503, None, nginx).pause(), Some(DEFAULT_PAUSE));
        assert_eq!(response(429, None, "").pause(), Some(DEFAULT_PAUSE));
        assert_eq!(response(429, None, plugin).pause(), None);
        assert_eq!(response(200, Some("5"), "").pause(), None);
        assert_eq!(response(429, Some(" 7 "), plugin).pause(), Some(Duration::from_secs(7)));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let pause = response(503, Some(&soon), plugin).pause().unwrap();
        assert!((55..=60).contains(&pause.as_secs()), "{pause:?}");
        let past = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(response(503, Some(past), plugin).pause(), Some(Duration::ZERO));
        assert_eq!(response(503, Some("soon"), nginx).pause(), Some(DEFAULT_PAUSE));
    }

    #[test]
    fn json_is_read_whatever_is_printed_around_it() {
        let body = r#"{"name":"a [b] {c}","list":[1]}"#;
        for around in [
            "\u{feff}\r\n@",
            "\n\n\n@\n",
            "<!-- {} -->@",
            "@\n<!-- served in 0.1 s -->",
            "<br />\n<b>Warning</b>:  Undefined array key \"x\" in <b>/a[0]/{b}.php</b> on line <b>3</b><br />\n@",
            "Array ( [0] => [] )\n@",
            "@<!-- served in 0.1 s {cached: [yes]} -->",
            "<!-- [] -->@<input type=\"hidden\" name=\"token\" value=\"{}\">",
            "<script>var a = {};</script>@",
            "/*-secure-\n@*/",
            "while(1);@",
            ")]}',\n@",
        ] {
            let expected = serde_json::from_str::<Value>(body).unwrap();
            assert_eq!(json_of(&around.replace('@', body)), Some(expected), "{around}");
        }
        let notice = "<b>Warning</b>: undefined key \"a[0]\" in <b>/srv/a.php</b> [1]<br />\n[]";
        assert_eq!(json_of(notice), Some(json!([])));
        assert_eq!(json_of("null"), Some(Value::Null));
        assert_eq!(json_of("[1] and nothing else"), Some(json!([1])));
        for none in ["", "\u{feff}", "{\"cut\": [1, ", "a firewall's words"] {
            assert_eq!(json_of(none), None, "{none}");
        }
    }

    #[test]
    fn a_body_built_to_be_slow_is_read_within_bounds() {
        for unit in ["[", "{\"a\":", "{\"", "[1,"] {
            assert_eq!(json_of(&unit.repeat((4 << 20) / unit.len())), None, "{unit}");
        }
        let behind = |cut: usize| json_of(&format!("{}[1]", "[".repeat(cut)));
        assert_eq!(behind(MAX_CUT_JSON - 1), Some(json!([1])));
        assert_eq!(behind(MAX_CUT_JSON), None);
    }

    #[test]
    fn the_last_word_is_read_whatever_is_printed_around_it() {
        let nonce = "ab12cd34ef";
        for around in [
            "@",
            "\u{feff}\n@",
            "\n\n\n@",
            "<!-- {} -->@",
            "@\n<!-- served in 0.1 s -->",
            "\r\n@\r\n",
            "<b>Notice</b>: x in <b>/0123456789/a.php</b> on line <b>3</b><br />\n@",
            "@\n<!-- cached 0123456789 -->\n",
            "@<!-- a > b -->",
            "@<input type=hidden name=a value=0123456789>",
            "@</body></html>",
        ] {
            assert_eq!(last_word(&around.replace('@', nonce)), nonce, "{around}");
        }
        assert_eq!(last_word("<html>"), "");
        assert_eq!(last_word("\u{feff}0"), "0");
    }
}
