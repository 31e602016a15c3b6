//! Removes known secrets from texts before they are stored.

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::{SiteText, escaped};

/// What replaces a secret.
const MARK: &str = "[redacted]";

/// Finds the secrets of a task in every spelling in which a site may echo them: as they are, with slashes,
/// percent-encoded, form-encoded, HTML-escaped, JSON-escaped, in base64; in any case of letters.
#[derive(Default)]
pub struct Redactor {
    spellings: Vec<Zeroizing<String>>,
    search: Option<AhoCorasick>,
}

impl Redactor {
    /// A redactor for these secrets.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets {
            redactor.add(secret);
        }
        redactor
    }

    /// Adds a secret. Secrets of less than 4 bytes are ignored: they would redact half of every text.
    pub fn add(&mut self, secret: &SecretString) {
        let plain = secret.expose_secret();
        let folded = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        // WordPress adds slashes before quotes and backslashes in everything that is posted.
        let slashed = plain.replace('\\', "\\\\").replace('\'', "\\'").replace('"', "\\\"");
        // Texts are cleaned before they are redacted.
        let clean = SiteText::new(plain);
        for text in [plain, plain.trim(), &plain.replace(' ', ""), &folded, &slashed, &clean] {
            self.spellings.extend(spellings(text).into_iter().filter(|s| s.len() >= 4).map(Zeroizing::new));
        }
        self.spellings.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        self.spellings.dedup();
        let mut search = AhoCorasick::builder();
        search.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest);
        self.search = search.build(self.spellings.iter().map(|s| s.as_bytes())).ok();
    }

    /// Replaces every secret in a text.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        match &self.search {
            Some(search) => search.replace_all(text, &vec![MARK; self.spellings.len()]),
            // Without secrets the text stays; if the search could not be built, no text is safe.
            None if self.spellings.is_empty() => text.to_owned(),
            None => MARK.to_owned(),
        }
    }

    /// Whether a text contains one of the secrets.
    #[must_use]
    pub fn finds_secret(&self, text: &str) -> bool {
        self.search.as_ref().map_or(!self.spellings.is_empty(), |search| search.is_match(text))
    }
}

/// The spellings of one text.
fn spellings(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    // PHP's json_encode() writes what is not ASCII as UTF-16 units.
    let ascii: String = json.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect();
    let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let percent = form.replace('+', "%20");
    // encodeURIComponent() does not encode these.
    let component = [("%21", "!"), ("%27", "'"), ("%28", "("), ("%29", ")"), ("%2A", "*"), ("%7E", "~")];
    let component = component.iter().fold(percent.clone(), |text, (code, plain)| text.replace(code, plain));
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = html.replace('"', "&quot;");
    vec![
        text.to_owned(),
        ascii.replace('/', "\\/"),
        ascii,
        json.replace('/', "\\/"),
        json,
        form,
        percent,
        component,
        quoted.replace('\'', "&#039;"),
        quoted.replace('\'', "&#39;"),
        quoted,
        html,
        STANDARD.encode(text).trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(text),
    ]
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} spellings)", self.spellings.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let redactor = Redactor::new([&SecretString::from("p&s \"w/ö'x")]);
        for text in [
            "p&s \"w/ö'x",
            "p%26s%20%22w%2F%C3%B6%27x",
            "p%26s+%22w%2F%C3%B6%27x",
            "p&amp;s &quot;w/ö&#039;x",
            "p&amp;s &quot;w/ö'x",
            r#"p&s \"w\/ö'x"#,
            "p&s\"w/ö'x",
            r#"p&s \"w/ö\'x"#,
            r#"P&S \"W/\u00f6'x"#,
            "p%26s%20%22w%2f%c3%b6'x",
            "cCZzICJ3L8O2J3g",
        ] {
            assert_eq!(redactor.redact(&format!("a{text}b")), format!("a{MARK}b"), "{text}");
        }
        assert!(!format!("{redactor:?}").contains("p&s"));
    }

    #[test]
    fn a_secret_is_found_in_a_text_that_was_cleaned() {
        let redactor = Redactor::new([&SecretString::from("pa\u{200d}ss\u{a0}wo\u{202e}rd")]);
        let echoed = SiteText::new("It said: pa\u{200d}ss\u{a0}wo\u{202e}rd.");
        assert_eq!(redactor.redact(&echoed), format!("It said: {MARK}."));
        let hidden = SiteText::new("c\u{200b}anary-\u{feff}password");
        assert_eq!(Redactor::new([&SecretString::from("canary-password")]).redact(&hidden), MARK);
    }

    #[test]
    fn a_very_short_secret_redacts_nothing() {
        assert_eq!(Redactor::new([&SecretString::from("a")]).redact("banana"), "banana");
    }
}
