//! Taking known secrets out of texts before they are kept.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// What stands where a secret was.
const MARK: &str = "[redacted]";

/// Knows the secrets of a task in every spelling in which a site might echo them: as they are,
/// percent-encoded, form-encoded, HTML-escaped and JSON-escaped.
#[derive(Default)]
pub struct Redactor {
    spellings: Vec<Zeroizing<String>>,
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

    /// One secret more. Shorter than 4 bytes they are left out: they would redact half of every text.
    pub fn add(&mut self, secret: &SecretString) {
        let plain = secret.expose_secret();
        for text in [plain, &plain.replace(' ', "")] {
            if text.len() < 4 {
                continue;
            }
            let json = serde_json::to_string(text).unwrap_or_default();
            let json = json.trim_matches('"').to_owned();
            let html = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            let form: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            for spelling in [
                text.to_owned(),
                form.replace('+', "%20"),
                form,
                html.replace('"', "&quot;").replace('\'', "&#039;"),
                html.replace('"', "&quot;").replace('\'', "&#39;"),
                html.replace('"', "&quot;"),
                html,
                json.replace('/', "\\/"),
                json,
            ] {
                if !self.spellings.iter().any(|s| **s == spelling) {
                    self.spellings.push(Zeroizing::new(spelling));
                }
            }
        }
        // Longest first: a spelling may hold another.
        self.spellings.sort_by_key(|s| std::cmp::Reverse(s.len()));
    }

    /// The text without any of the secrets.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        self.spellings
            .iter()
            .fold(text.to_owned(), |text, s| text.replace(s.as_str(), MARK))
    }
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
        ] {
            assert_eq!(
                redactor.clean(&format!("a{text}b")),
                format!("a{MARK}b"),
                "{text}"
            );
        }
        assert!(!format!("{redactor:?}").contains("p&s"));
    }

    #[test]
    fn a_very_short_secret_redacts_nothing() {
        assert_eq!(
            Redactor::new([&SecretString::from("a")]).clean("banana"),
            "banana"
        );
    }
}
