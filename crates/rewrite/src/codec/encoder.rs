//! Encodes new text in the style of the text it replaces.

use super::{Codec, is_unreserved};

/// How a character is encoded in the existing text.
#[derive(Clone)]
enum CharEncoding<'t> {
    Plain,
    Literal(&'t [u8]),
    /// Not found in the text; encoded in the default style.
    Default(Vec<u8>),
}

/// How many bytes of the surrounding text are searched for a character's style.
const STYLE_WINDOW_BYTES: usize = 4096;

/// Encodes new text in the style of an old one.
pub(super) struct Encoder<'t> {
    codec: Codec,
    /// The texts around all replacements, from the nearest to the widest.
    surroundings: [&'t [u8]; 2],
    /// Styles already searched for in the surroundings.
    nearby_styles: Vec<(u8, Option<CharEncoding<'t>>)>,
    /// Styles already searched for in the current old text, which may be long.
    char_styles: Vec<(u8, CharEncoding<'t>)>,
}

impl<'t> Encoder<'t> {
    pub(super) fn new(codec: Codec, surroundings: [&'t [u8]; 2]) -> Self {
        Self {
            codec,
            surroundings: surroundings.map(|text| &text[..text.len().min(STYLE_WINDOW_BYTES)]),
            nearby_styles: Vec::new(),
            char_styles: Vec::new(),
        }
    }

    /// Appends `new`. Each character is encoded as in the old text, or else as in its surroundings, or else in the
    /// default style.
    pub(super) fn encode_like(&mut self, new: &[u8], old: &'t [u8], to: &mut Vec<u8>) {
        self.char_styles.clear();
        let mut rest = new;
        while let Some((byte, after)) = rest.split_first() {
            // Block comments escape `--`, but not a single hyphen.
            let double = rest.starts_with(b"--");
            let is_plain =
                |(at, byte): &(usize, &u8)| is_unreserved(**byte) && !rest[*at..].starts_with(b"--");
            let plain = rest.iter().enumerate().take_while(is_plain).count();
            if plain > 0 {
                to.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
                continue;
            }
            if !byte.is_ascii() {
                let letters = rest.iter().take_while(|byte| !byte.is_ascii()).count();
                self.encode_non_ascii(&rest[..letters], old, to);
                rest = &rest[letters..];
                continue;
            }
            let style = self.char_style(*byte, old);
            for _ in 0..=usize::from(double) {
                match style {
                    CharEncoding::Plain => to.push(*byte),
                    CharEncoding::Literal(text) => to.extend_from_slice(text),
                    CharEncoding::Default(text) => to.extend_from_slice(text),
                }
            }
            rest = if double { &rest[2..] } else { after };
        }
    }

    fn char_style(&mut self, byte: u8, old: &'t [u8]) -> &CharEncoding<'t> {
        let at = self.char_styles.iter().position(|(known, _)| *known == byte).unwrap_or_else(|| {
            let near = find_style(self.codec, byte, old).or_else(|| self.style_nearby(byte, old));
            self.char_styles.push((
                byte,
                near.unwrap_or_else(|| CharEncoding::Default(self.default_encoding(byte, old))),
            ));
            self.char_styles.len() - 1
        });
        &self.char_styles[at].1
    }

    fn style_nearby(&mut self, byte: u8, old: &[u8]) -> Option<CharEncoding<'t>> {
        if self.codec == Codec::Percent && has_encoded_ascii(old) {
            return None;
        }
        if let Some((_, style)) = self.nearby_styles.iter().find(|(known, _)| *known == byte) {
            return style.clone();
        }
        let found = self.surroundings.iter().find_map(|text| find_style(self.codec, byte, text));
        self.nearby_styles.push((byte, found.clone()));
        found
    }

    /// The default encoding, for a character that was not found.
    fn default_encoding(&self, byte: u8, old: &[u8]) -> Vec<u8> {
        let mut to = Vec::new();
        match self.codec {
            Codec::Backslash => match byte {
                b'"' | b'\\' => to.extend([b'\\', byte]),
                0..=31 => to.extend(format!("\\u{byte:04x}").bytes()),
                _ => to.push(byte),
            },
            Codec::Percent if is_unreserved(byte) => to.push(byte),
            Codec::Percent => {
                // The colon before a port stays plain if only the host was encoded: `//m%C3%BCnchen.example`.
                let authority =
                    byte == b':' && matches!(find_style(self.codec, b'/', old), Some(CharEncoding::Plain));
                if authority { to.push(byte) } else { self.percent_encode(byte, old, &mut to) }
            }
            Codec::Html => match byte {
                b'&' => to.extend(b"&amp;"),
                b'"' => to.extend(b"&quot;"),
                b'\'' => to.extend(b"&#039;"),
                b'<' => to.extend(b"&lt;"),
                b'>' => to.extend(b"&gt;"),
                _ => to.push(byte),
            },
            Codec::Sql { quote, escapes } => match byte {
                b'\\' if escapes => to.extend(b"\\\\"),
                byte if byte == quote => to.extend([if escapes { b'\\' } else { quote }, quote]),
                _ => to.push(byte),
            },
        }
        to
    }

    /// Encodes non-ASCII letters.
    fn encode_non_ascii(&self, letters: &[u8], old: &[u8], to: &mut Vec<u8>) {
        let has = |sign: &[u8]| memchr::memmem::find(old, sign).is_some();
        match (self.codec, std::str::from_utf8(letters)) {
            (Codec::Percent, _) => letters.iter().for_each(|byte| self.percent_encode(*byte, old, to)),
            (Codec::Backslash, Ok(letters)) if has(b"\\u") => {
                letters.encode_utf16().for_each(|unit| to.extend(format!("\\u{unit:04x}").bytes()));
            }
            (Codec::Html, Ok(letters)) if has(b"&#") => {
                letters.chars().for_each(|letter| to.extend(format!("&#{};", u32::from(letter)).bytes()));
            }
            _ => to.extend_from_slice(letters),
        }
    }

    /// Percent-encodes a byte, with digits in the case that is used nearby.
    fn percent_encode(&self, byte: u8, old: &[u8], to: &mut Vec<u8>) {
        let lowercase = uses_lowercase(old)
            .or_else(|| self.surroundings.iter().find_map(|text| uses_lowercase(text)))
            .unwrap_or(false);
        let code = if lowercase { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
        to.extend(code.bytes());
    }
}

/// How the first occurrence of a character in a text is encoded.
fn find_style(codec: Codec, byte: u8, text: &[u8]) -> Option<CharEncoding<'_>> {
    let mut at = 0;
    while let Some(next) = memchr::memchr3(codec.escape_byte(), codec.alt_escape_byte(), byte, &text[at..]) {
        at += next;
        match codec.parse_char(&text[at..]) {
            Some(char) if char.bytes() == [byte] => {
                return Some(CharEncoding::Literal(&text[at..at + char.len]));
            }
            Some(char) => at += char.len,
            None if text[at] == byte => return Some(CharEncoding::Plain),
            None => at += 1,
        }
    }
    None
}

/// Whether a text contains a percent-encoded ASCII character, such as `%2F`.
fn has_encoded_ascii(text: &[u8]) -> bool {
    let mut chars = memchr::memchr_iter(b'%', text).filter_map(|at| Codec::Percent.parse_char(&text[at..]));
    chars.any(|char| char.bytes().is_ascii())
}

/// Whether the first percent-encoded byte with a letter among its digits is in lower case.
fn uses_lowercase(text: &[u8]) -> Option<bool> {
    let codes = memchr::memchr_iter(b'%', text).filter_map(|at| text.get(at + 1..at + 3));
    let mut digits = codes.filter(|code| code.iter().all(u8::is_ascii_hexdigit)).flatten();
    digits.find(|digit| digit.is_ascii_alphabetic()).map(u8::is_ascii_lowercase)
}
