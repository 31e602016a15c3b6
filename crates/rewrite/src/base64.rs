//! Base64 anywhere in a text: standard or URL-safe, padded or not.

use std::ops::Range;

use crate::codec::Codec;
use crate::edits::Edits;
use crate::hit::Hit;

/// The base64 around a hit.
pub(crate) enum Base64Match {
    Span(Base64Span),
    /// Some of its characters are in this encoding, which has to be decoded first.
    Encoded(Codec),
    /// Base64 that ends at this offset and cannot be re-encoded to the same form.
    Malformed {
        end: usize,
    },
    /// Not base64.
    None,
}

/// A span of base64 that starts at a group boundary.
pub(crate) struct Base64Span {
    /// The data without padding.
    pub(crate) data: Range<usize>,
    /// The end including padding.
    pub(crate) end: usize,
}

/// Base64 with line breaks has lines of 64 or 76 characters (RFC 1421, RFC 2045); shorter ones are not taken for it.
const MIN_LINE_CHARS: usize = 60;

/// Finds the base64 around a hit. It does not start before `from`; a group starts `group_offset` characters before
/// the hit.
pub(crate) fn find_base64_around(text: &[u8], from: usize, hit: Hit, group_offset: usize) -> Base64Match {
    let before = text[from..hit.at].iter().rev().take_while(|byte| is_base64_char(**byte)).count();
    let after = text[hit.at..].iter().take_while(|byte| is_base64_char(**byte)).count();
    let (left, mut right) = (hit.at - before, hit.at + after);
    if let Some(codec) = encoding_before(text, from, left).or_else(|| encoding_after(text, right)) {
        return Base64Match::Encoded(codec);
    }
    let Some(before_group) = before.checked_sub(group_offset) else { return Base64Match::None };
    let start = left + before_group % 4;
    if (right - start) % 4 == 1 {
        right -= 1;
    }
    if right < hit.end {
        return Base64Match::None;
    }
    let padding = text[right..].iter().take_while(|byte| **byte == b'=').count();
    let expected = (4 - (right - start) % 4) % 4;
    let padded = if expected == 0 { 0 } else { padding };
    if (padded != 0 && padded != expected)
        || has_nonzero_trailing_bits(&text[start..right])
        || has_line_breaks(text, left, right)
    {
        return Base64Match::Malformed { end: right };
    }
    Base64Match::Span(Base64Span { data: start..right, end: right + padded })
}

fn encoding_before(text: &[u8], from: usize, left: usize) -> Option<Codec> {
    let before = left.checked_sub(1).filter(|before| *before >= from)?;
    match text[before] {
        b'%' => Codec::Percent.parse_char(&text[before..]).map(|_| Codec::Percent),
        b'\\' => Codec::Backslash.parse_char(&text[before..]).map(|_| Codec::Backslash),
        b';' => {
            let char = Codec::Html.parse_last_char(&text[from..left])?;
            matches!(char.bytes(), b"+" | b"/").then_some(Codec::Html)
        }
        _ => None,
    }
}

fn encoding_after(text: &[u8], right: usize) -> Option<Codec> {
    let codec = match text.get(right)? {
        b'%' => Codec::Percent,
        b'\\' => Codec::Backslash,
        b'&' => Codec::Html,
        _ => return None,
    };
    let char = codec.parse_char(&text[right..])?;
    // Includes characters that are encoded twice: `%252B`.
    matches!(char.bytes(), b"+" | b"/" | b"-" | b"_" | b"=" | b"%" | b"\\" | b"&").then_some(codec)
}

/// Whether the span is one line of base64 with line breaks. The breaks ignore the content, so an address across two
/// lines would be missed, and padding in the middle would end the data.
fn has_line_breaks(text: &[u8], left: usize, right: usize) -> bool {
    let line_after = text[right..].iter().take(2).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let line_continues = line_after > 0 && text.get(right + line_after).copied().is_some_and(is_base64_char);
    let line_before =
        text[..left].iter().rev().take(2).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let previous = text[..left - line_before]
        .iter()
        .rev()
        .take(MIN_LINE_CHARS)
        .take_while(|byte| is_base64_char(**byte))
        .count();
    (line_continues && right - left >= MIN_LINE_CHARS) || (line_before > 0 && previous == MIN_LINE_CHARS)
}

impl Base64Span {
    /// Whether the data begins where its text says so: after another character, or at the start of a text that is
    /// whole. In `/aHR0cDov`, the slash may belong to it.
    pub(crate) fn is_delimited(&self, text: &[u8], is_whole: bool) -> bool {
        let before = self.data.start.checked_sub(1).map(|at| text[at]);
        before.map_or(is_whole, |byte| !is_base64_char(byte))
    }

    /// Re-encodes the span, starting with the first group that an edit changes.
    pub(crate) fn write_edits(
        &self,
        text: &[u8],
        base: usize,
        decoded: &[u8],
        inner: &Edits,
        out: &mut Edits,
    ) {
        let Some((first, _)) = inner.iter().next() else { return };
        let groups = first.start / 3;
        let from = self.data.start + groups * 4;
        let new = inner.apply(decoded, groups * 3);
        let tail = &text[from..self.data.end];
        // The text before the re-encoded groups may not be base64: `id-aHR0cDovL…`.
        let is_url_safe =
            memchr::memchr2(b'-', b'_', tail).is_some() && memchr::memchr2(b'+', b'/', tail).is_none();
        let padded = self.end > self.data.end || (self.data.len().is_multiple_of(4) && !is_url_safe);
        out.push(base + from..base + self.end, |to| {
            let mut code = encode(&new);
            if !padded {
                code.truncate((new.len() * 4).div_ceil(3));
            }
            to.extend(if is_url_safe { url_safe(&code) } else { code });
        });
    }
}

fn is_base64_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of each character in either alphabet. Never looked up for other characters.
const VALUES: [u8; 256] = {
    let mut values = [0; 256];
    let mut value = 0;
    while value < 64 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};

fn group_bits(group: &[u8]) -> u32 {
    group.iter().fold(0, |sum, digit| sum << 6 | u32::from(VALUES[usize::from(*digit)]))
        << (6 * (4 - group.len()))
}

/// Whether the bits of the last group beyond the last whole byte are not all zero.
fn has_nonzero_trailing_bits(data: &[u8]) -> bool {
    let rest = data.len() % 4;
    let group = group_bits(&data[data.len() - rest..]);
    match rest {
        2 => group & 0xffff != 0,
        3 => group & 0xff != 0,
        _ => false,
    }
}

/// Decodes base64 without padding.
pub(crate) fn decode(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() / 4 * 3 + 3);
    for group in data.chunks(4) {
        let [_, one, two, three] = group_bits(group).to_be_bytes();
        bytes.extend_from_slice(&[one, two, three]);
    }
    bytes.truncate(data.len() * 3 / 4);
    bytes
}

/// Encodes with the standard alphabet and padding.
pub(crate) fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |shift: u32| DIGITS[(bits >> shift & 63) as usize];
        let digits = [digit(18), digit(12), digit(6), digit(0)];
        text.extend_from_slice(&digits[..group.len() + 1]);
        text.extend_from_slice(&b"=="[..3 - group.len()]);
    }
    text
}

/// Converts base64 from the standard to the URL-safe alphabet.
pub(crate) fn url_safe(text: &[u8]) -> Vec<u8> {
    let replace = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    text.iter().map(replace).collect()
}
