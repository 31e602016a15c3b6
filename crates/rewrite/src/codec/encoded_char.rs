//! One encoded character.

use super::Codec;

/// An encoded character: its encoded length and its decoded bytes.
pub(crate) struct EncodedChar {
    pub(crate) len: usize,
    bytes: [u8; 4],
    count: usize,
}

impl EncodedChar {
    fn byte(len: usize, byte: u8) -> Self {
        Self { len, bytes: [byte, 0, 0, 0], count: 1 }
    }

    fn letter(len: usize, letter: char) -> Self {
        let mut bytes = [0; 4];
        let count = letter.encode_utf8(&mut bytes).len();
        Self { len, bytes, count }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

impl Codec {
    /// The byte that starts an encoded character.
    pub(super) fn escape_byte(self) -> u8 {
        match self {
            Self::Backslash => b'\\',
            Self::Percent => b'%',
            Self::Html => b'&',
            Self::Sql { escapes: true, .. } => b'\\',
            Self::Sql { quote, .. } => quote,
        }
    }

    /// Another such byte: forms encode a space as a plus, and SQL may double its quotes.
    pub(super) fn alt_escape_byte(self) -> u8 {
        match self {
            Self::Percent => b'+',
            Self::Sql { quote, .. } => quote,
            _ => self.escape_byte(),
        }
    }

    /// Parses the encoded character at the start of a text.
    #[inline]
    pub(crate) fn parse_char(self, text: &[u8]) -> Option<EncodedChar> {
        match self {
            Self::Backslash => escape(text),
            Self::Percent if text.first() == Some(&b'+') => Some(EncodedChar::byte(1, b' ')),
            Self::Percent => {
                Some(EncodedChar::byte(3, u8::try_from(hex(text.strip_prefix(b"%")?, 2)?).ok()?))
            }
            Self::Html => reference(text),
            Self::Sql { quote, escapes } => sql(text, quote, escapes),
        }
    }

    /// Parses the encoded character at the end of a text.
    pub(crate) fn parse_last_char(self, text: &[u8]) -> Option<EncodedChar> {
        let start = memchr::memrchr(self.escape_byte(), &text[text.len().saturating_sub(MAX_CHAR_BYTES)..])?;
        let last = &text[text.len().saturating_sub(MAX_CHAR_BYTES) + start..];
        self.parse_char(last).filter(|char| char.len == last.len())
    }
}

/// Longest encoded character in bytes; `&NewLine;` and `&#x10FFFF;` come close.
const MAX_CHAR_BYTES: usize = 12;

#[inline]
fn escape(text: &[u8]) -> Option<EncodedChar> {
    let (b'\\', letter) = (*text.first()?, *text.get(1)?) else { return None };
    Some(match letter {
        b'n' => EncodedChar::byte(2, b'\n'),
        b't' => EncodedChar::byte(2, b'\t'),
        b'r' => EncodedChar::byte(2, b'\r'),
        b'b' => EncodedChar::byte(2, 8),
        b'f' => EncodedChar::byte(2, 12),
        b'v' => EncodedChar::byte(2, 11),
        b'0' => EncodedChar::byte(2, 0),
        b'x' => EncodedChar::letter(4, char::from_u32(hex(&text[2..], 2)?)?),
        b'u' => return unicode(text),
        // Not an escape, as in the Windows path `C:\sites\example.com`.
        other if !other.is_ascii() || other.is_ascii_alphanumeric() => return None,
        other => EncodedChar::byte(2, other),
    })
}

/// In `\%` and `\_`, the backslash is part of the value (MySQL manual, "String Literals").
fn sql(text: &[u8], quote: u8, escapes: bool) -> Option<EncodedChar> {
    let byte = match (*text.first()?, *text.get(1)?) {
        (b'\\', letter) if escapes => match letter {
            b'%' | b'_' => return Some(EncodedChar { len: 2, bytes: [b'\\', letter, 0, 0], count: 2 }),
            b'0' => 0,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'Z' => 26,
            other => other,
        },
        (one, other) if one == quote && other == quote => quote,
        _ => return None,
    };
    Some(EncodedChar::byte(2, byte))
}

/// `\u00fc`, and surrogate pairs. An unpaired surrogate is no character and is kept as written.
fn unicode(text: &[u8]) -> Option<EncodedChar> {
    let first = hex(text.get(2..)?, 4)?;
    if let Some(letter) = char::from_u32(first) {
        return Some(EncodedChar::letter(6, letter));
    }
    let second = hex(text.get(6..)?.strip_prefix(b"\\u")?, 4)?;
    let units = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    Some(EncodedChar::letter(12, char::decode_utf16(units).next()?.ok()?))
}

/// Parses this many hexadecimal digits.
fn hex(text: &[u8], digits: usize) -> Option<u32> {
    text.get(..digits)?.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}

/// Named references of characters that encodings consist of. All other names are kept as written.
const NAMED_REFERENCES: [(&[u8], char); 18] = [
    (b"amp", '&'),
    (b"quot", '"'),
    (b"apos", '\''),
    (b"lt", '<'),
    (b"gt", '>'),
    (b"nbsp", '\u{a0}'),
    (b"sol", '/'),
    (b"bsol", '\\'),
    (b"colon", ':'),
    (b"semi", ';'),
    (b"period", '.'),
    (b"comma", ','),
    (b"equals", '='),
    (b"plus", '+'),
    (b"lbrace", '{'),
    (b"rbrace", '}'),
    (b"lsqb", '['),
    (b"rsqb", ']'),
];

fn reference(text: &[u8]) -> Option<EncodedChar> {
    let near = text.get(1..text.len().min(MAX_CHAR_BYTES))?;
    let end = memchr::memchr(b';', near)?;
    let (name, len) = (&near[..end], end + 2);
    let Some(number) = name.strip_prefix(b"#") else {
        let (_, letter) = NAMED_REFERENCES.iter().find(|(known, _)| *known == name)?;
        return Some(EncodedChar::letter(len, *letter));
    };
    let value = match number.strip_prefix(b"x").or_else(|| number.strip_prefix(b"X")) {
        Some(digits) if (1..=6).contains(&digits.len()) => hex(digits, digits.len())?,
        Some(_) => return None,
        None => std::str::from_utf8(number).ok().filter(|number| !number.starts_with('+'))?.parse().ok()?,
    };
    // Browsers read 128 to 159 as Windows-1252 and zero as U+FFFD (HTML standard, "Numeric character reference end
    // state").
    let plain = value != 0 && !(0x80..0xa0).contains(&value);
    Some(EncodedChar::letter(len, char::from_u32(value).filter(|_| plain)?))
}
