//! Texts that come from a site: shown to people, in terminals, logs and files.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A text that may come from a site, as one line that is safe to show.
///
/// It has no control characters (C0, C1, DEL), no escape sequences of terminals (ECMA-48), no characters that change the
/// writing direction (Unicode's UAX #9) and no invisible ones, and at most [`SiteText::MAX_CHARS`] characters. White space
/// is folded to single spaces. Every way to make one cleans the text, reading it from JSON included.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct SiteText(String);

impl SiteText {
    /// The most characters. A longer text ends with an ellipsis.
    pub const MAX_CHARS: usize = 4000;

    /// Cleans a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::with_limit(text, Self::MAX_CHARS)
    }

    /// Cleans a text and shortens it to `max_chars` characters, the ellipsis not counted.
    #[must_use]
    pub fn with_limit(text: &str, max_chars: usize) -> Self {
        let max_chars = max_chars.min(Self::MAX_CHARS);
        let (mut clean, mut length, mut rest) = (String::new(), 0, text);
        let mut space = false;
        while let Some(c) = rest.chars().next() {
            rest = match after_escape_sequence(c, rest) {
                Some(after) => after,
                None => &rest[c.len_utf8()..],
            };
            if c.is_whitespace() {
                space = !clean.is_empty();
                continue;
            }
            if is_interpreted(c) {
                continue;
            }
            if length + usize::from(space) >= max_chars {
                clean.push('\u{2026}');
                break;
            }
            if std::mem::take(&mut space) {
                clean.push(' ');
                length += 1;
            }
            clean.push(c);
            length += 1;
        }
        Self(clean)
    }

    /// Cleans bytes that should be UTF-8; what is not becomes U+FFFD.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // Four bytes a character at most; whatever is cleaned away may take as much again.
        let read = bytes.len().min(Self::MAX_CHARS * 8);
        Self::new(&String::from_utf8_lossy(&bytes[..read]))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Cleans every text in a JSON value, names of members included.
    #[must_use]
    pub fn clean_json(value: Value) -> Value {
        match value {
            Value::String(text) => Self::from(text).0.into(),
            Value::Array(items) => items.into_iter().map(Self::clean_json).collect(),
            Value::Object(members) => {
                let clean = |(name, value)| (Self::from(name).0, Self::clean_json(value));
                Value::Object(members.into_iter().map(clean).collect())
            }
            other => other,
        }
    }
}

/// Whether a terminal or another display interprets the character instead of showing it: control characters, changes of the
/// writing direction, line separators, and what is shown as nothing (Unicode's Default_Ignorable_Code_Point, and Braille without dots).
#[must_use]
pub fn is_interpreted(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' // soft hyphen
            | '\u{34f}' // combining grapheme joiner
            | '\u{61c}' // Arabic letter mark
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
            | '\u{17b4}' | '\u{17b5}' // Khmer inherent vowels
            | '\u{180b}'..='\u{180f}' // Mongolian variation selectors and vowel separator
            | '\u{200b}'..='\u{200f}' // zero width; left-to-right and right-to-left mark
            | '\u{2028}'..='\u{202e}' // line and paragraph separator; bidirectional embeddings and overrides
            | '\u{2060}'..='\u{206f}' // word joiner; bidirectional isolates; deprecated formats
            | '\u{2800}' // Braille without dots
            | '\u{fe00}'..='\u{fe0f}' // variation selectors
            | '\u{feff}' // byte order mark
            | '\u{fff0}'..='\u{fffb}' // reserved; interlinear annotations
            | '\u{1bca0}'..='\u{1bca3}' // shorthand format controls
            | '\u{1d173}'..='\u{1d17a}' // musical format controls
            | '\u{e0000}'..='\u{e0fff}' // tags and further variation selectors
        )
}

/// A character as JSON escapes it: `\u202e`, in two parts beyond U+FFFF.
#[must_use]
pub fn escaped(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// What follows the escape sequence that begins here with `c`; `None` when none does.
fn after_escape_sequence(c: char, text: &str) -> Option<&str> {
    let rest = text.strip_prefix(c)?;
    // An 8-bit introducer stands for ESC and the character 0x40 below it.
    let (introducer, rest) = match c {
        '\u{1b}' => (rest.chars().next()?, rest.get(1..)?),
        '\u{80}'..='\u{9f}' => (char::from_u32(u32::from(c) - 0x40)?, rest),
        _ => return None,
    };
    match introducer {
        // Parameters, intermediates and a final byte. One that is not finished is no sequence.
        '[' => {
            let end = rest.find(|c: char| !matches!(c, ' '..='?'))?;
            let last = rest[end..].chars().next().filter(|last| matches!(last, '@'..='~'))?;
            Some(&rest[end + last.len_utf8()..])
        }
        // A string up to BEL or the string terminator. One without an end would hide the rest of the text.
        ']' | 'P' | 'X' | '^' | '_' => {
            let (start, end) = ["\u{7}", "\u{1b}\\", "\u{9c}"]
                .iter()
                .filter_map(|end| rest.find(end).map(|at| (at, at + end.len())))
                .min()?;
            rest[..start].chars().all(|c| !matches!(c, '\n' | '\r')).then(|| &rest[end..])
        }
        _ => None,
    }
}

impl From<&str> for SiteText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for SiteText {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Cow<'_, str>> for SiteText {
    fn from(text: Cow<'_, str>) -> Self {
        Self::new(&text)
    }
}

impl From<SiteText> for String {
    fn from(text: SiteText) -> Self {
        text.0
    }
}

impl Deref for SiteText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for SiteText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SiteText {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for SiteText {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for SiteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SiteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_or_a_display_interprets_stays() {
        for (text, clean) in [
            ("a\u{1b}[2J\u{1b}[31;1mb\u{1b}[0m", "ab"),
            ("a\u{9b}31mb", "ab"),
            ("a\u{1b}]0;a title\u{7}b\u{1b}]8;;https://evil.example\u{1b}\\c\u{9d}0;x\u{9c}d", "abcd"),
            ("a\u{1b}Pq#0\u{1b}\\b\u{1b}cd", "abcd"),
            // Sequences without an end hide nothing that follows.
            ("a\u{1b}]0;b", "a]0;b"),
            ("a\u{1b}[31", "a[31"),
            ("a\u{1b}]x\nb\u{7}", "a]x b"),
            ("a\u{1b}[\u{fc}b", "a[\u{fc}b"),
            ("\u{202e}gpj.exe\u{202c} \u{2066}x\u{2069}\u{200e}\u{200f}\u{61c}", "gpj.exe x"),
            ("p\u{200b}a\u{200d}s\u{2060}s\u{feff}w\u{ad}o\u{e0061}rd", "password"),
            ("a\r\n\tb\u{2028}c\u{2029}d\u{a0}e\0f\u{7f}", "a b c d ef"),
            ("  a   b  ", "a b"),
            (
                "\u{fc}ber \u{1f680} \u{645}\u{631}\u{62d}\u{628}\u{627}",
                "\u{fc}ber \u{1f680} \u{645}\u{631}\u{62d}\u{628}\u{627}",
            ),
        ] {
            assert_eq!(SiteText::new(text), clean, "{text:?}");
        }
        assert_eq!(SiteText::from_bytes(b"a\xff\xc3(b\x1b[1m"), "a\u{fffd}\u{fffd}(b");
    }

    #[test]
    fn a_text_is_cut_at_its_limit_and_says_so() {
        assert_eq!(SiteText::with_limit("abcd", 4), "abcd");
        assert_eq!(SiteText::with_limit("abc de", 4), "abc\u{2026}");
        assert_eq!(SiteText::with_limit(&"\u{1f680}".repeat(9), 2), "\u{1f680}\u{1f680}\u{2026}");
        let long = SiteText::from("x".repeat(1 << 20));
        assert_eq!(long.chars().count(), SiteText::MAX_CHARS + 1);
        assert_eq!(SiteText::from_bytes(&vec![b'y'; 1 << 20]).chars().count(), SiteText::MAX_CHARS + 1);
    }

    #[test]
    fn texts_in_json_are_cleaned_when_they_are_read_and_when_they_are_passed_on() {
        let read: SiteText = serde_json::from_str(r#""a\u001b[31m\u202eb""#).unwrap();
        assert_eq!(read, "ab");
        assert_eq!(serde_json::to_string(&read).unwrap(), r#""ab""#);
        // An unpaired surrogate is no text.
        assert!(serde_json::from_str::<SiteText>(r#""a\ud800b""#).is_err());
        let value = serde_json::json!({"a\u{202e}": ["\u{1b}[1mb", 1, null, {"c": "d\n"}]});
        let clean = serde_json::json!({"a": ["b", 1, null, {"c": "d"}]});
        assert_eq!(SiteText::clean_json(value), clean);
    }

    #[test]
    fn an_escaped_character_is_the_same_in_json() {
        for c in ['\u{1b}', '\u{202e}', '\u{e0061}'] {
            assert_eq!(
                serde_json::from_str::<String>(&format!("\"{}\"", escaped(c))).unwrap(),
                c.to_string()
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line_that_is_safe_to_show(text in "\\PC*|[\\x00-\\x9f\\u{2000}-\\u{206f}a]*", limit in 0_usize..50) {
            let clean = SiteText::with_limit(&text, limit);
            prop_assert!(!clean.chars().any(is_interpreted), "{clean:?}");
            prop_assert!(clean.chars().count() <= limit + 1);
            prop_assert_eq!(clean.trim(), clean.as_str());
            prop_assert_eq!(SiteText::new(&clean), clean.clone());
        }
    }
}
