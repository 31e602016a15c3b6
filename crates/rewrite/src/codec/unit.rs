//! One spelled character.

use super::Codec;

/// A character as it is spelled: how many bytes that takes, and what it stands for.
pub(crate) struct Unit {
    pub(crate) len: usize,
    bytes: [u8; 4],
    count: usize,
}

impl Unit {
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
    /// The byte every spelled character begins with.
    pub(super) fn lead(self) -> u8 {
        match self {
            Self::Backslash => b'\\',
            Self::Percent => b'%',
            Self::Html => b'&',
            Self::Sql { escapes: true, .. } => b'\\',
            Self::Sql { quote, .. } => quote,
        }
    }

    /// Another one: a plus is a space in what forms have encoded, a doubled quote is one in SQL.
    pub(super) fn other_lead(self) -> u8 {
        match self {
            Self::Percent => b'+',
            Self::Sql { quote, .. } => quote,
            _ => self.lead(),
        }
    }

    /// The spelled character a text begins with.
    #[inline]
    pub(crate) fn unit(self, text: &[u8]) -> Option<Unit> {
        match self {
            Self::Backslash => escape(text),
            Self::Percent if text.first() == Some(&b'+') => Some(Unit::byte(1, b' ')),
            Self::Percent => Some(Unit::byte(3, u8::try_from(hex(text.strip_prefix(b"%")?, 2)?).ok()?)),
            Self::Html => reference(text),
            Self::Sql { quote, escapes } => sql(text, quote, escapes),
        }
    }

    /// The spelled character a text ends with.
    pub(crate) fn last_unit(self, text: &[u8]) -> Option<Unit> {
        let lead = memchr::memrchr(self.lead(), &text[text.len().saturating_sub(LONGEST)..])?;
        let last = &text[text.len().saturating_sub(LONGEST) + lead..];
        self.unit(last).filter(|unit| unit.len == last.len())
    }
}

/// No spelled character is longer; `&NewLine;` and `&#x10FFFF;` come close.
const LONGEST: usize = 12;

#[inline]
fn escape(text: &[u8]) -> Option<Unit> {
    let (b'\\', letter) = (*text.first()?, *text.get(1)?) else { return None };
    Some(match letter {
        b'n' => Unit::byte(2, b'\n'),
        b't' => Unit::byte(2, b'\t'),
        b'r' => Unit::byte(2, b'\r'),
        b'b' => Unit::byte(2, 8),
        b'f' => Unit::byte(2, 12),
        b'v' => Unit::byte(2, 11),
        b'0' => Unit::byte(2, 0),
        b'x' => Unit::letter(4, char::from_u32(hex(&text[2..], 2)?)?),
        b'u' => return unicode(text),
        // In a folder of Windows it is no escape: `C:\sites\example.com`.
        other if !other.is_ascii() || other.is_ascii_alphanumeric() => return None,
        other => Unit::byte(2, other),
    })
}

/// Of `\%` and `\_` the backslash belongs to the value.
fn sql(text: &[u8], quote: u8, escapes: bool) -> Option<Unit> {
    let byte = match (*text.first()?, *text.get(1)?) {
        (b'\\', letter) if escapes => match letter {
            b'%' | b'_' => return Some(Unit { len: 2, bytes: [b'\\', letter, 0, 0], count: 2 }),
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
    Some(Unit::byte(2, byte))
}

/// `\u00fc`, and pairs of surrogates. A half of a pair stands for no character and stays as written.
fn unicode(text: &[u8]) -> Option<Unit> {
    let first = hex(text.get(2..)?, 4)?;
    if let Some(letter) = char::from_u32(first) {
        return Some(Unit::letter(6, letter));
    }
    let second = hex(text.get(6..)?.strip_prefix(b"\\u")?, 4)?;
    let units = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    Some(Unit::letter(12, char::decode_utf16(units).next()?.ok()?))
}

/// So many hexadecimal digits.
fn hex(text: &[u8], digits: usize) -> Option<u32> {
    text.get(..digits)?.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}

/// Named references that stand for something an encoding is made of. What else has a name stays as written.
const NAMES: [(&[u8], char); 18] = [
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

fn reference(text: &[u8]) -> Option<Unit> {
    let near = text.get(1..text.len().min(LONGEST))?;
    let end = memchr::memchr(b';', near)?;
    let (name, len) = (&near[..end], end + 2);
    let Some(number) = name.strip_prefix(b"#") else {
        let (_, letter) = NAMES.iter().find(|(known, _)| *known == name)?;
        return Some(Unit::letter(len, *letter));
    };
    let value = match number.strip_prefix(b"x").or_else(|| number.strip_prefix(b"X")) {
        Some(digits) if (1..=6).contains(&digits.len()) => hex(digits, digits.len())?,
        Some(_) => return None,
        None => std::str::from_utf8(number).ok().filter(|number| !number.starts_with('+'))?.parse().ok()?,
    };
    // Browsers read 128 to 159 as Windows-1252, and zero as a question mark.
    let plain = value != 0 && !(0x80..0xa0).contains(&value);
    Some(Unit::letter(len, char::from_u32(value).filter(|_| plain)?))
}
