//! Base64 as it stands in a text: standard or URL-safe, padded or not, anywhere.

use std::ops::Range;

use crate::codec::Codec;
use crate::edits::Edits;
use crate::finder::Hit;

/// What is around a hit in base64.
pub(crate) enum Around {
    Run(Run),
    /// Some of its characters are spelled in this encoding, which comes off first.
    Wrapped(Codec),
    /// Base64 that cannot be written again as it was, up to there.
    Broken {
        end: usize,
    },
    /// No base64.
    Nothing,
}

/// A piece of base64 that begins with a whole group.
pub(crate) struct Run {
    /// All of it, without padding.
    pub(crate) data: Range<usize>,
    /// Where it ends with its padding.
    pub(crate) end: usize,
}

/// Lines of base64 are 64 or 76 characters long.
const LINE: usize = 60;

/// Finds the base64 around a hit, nothing of which lies before `from`. A group begins `back` characters before the hit.
pub(crate) fn around(text: &[u8], from: usize, hit: Hit, back: usize) -> Around {
    let before = text[from..hit.at].iter().rev().take_while(|byte| is_digit(**byte)).count();
    let after = text[hit.at..].iter().take_while(|byte| is_digit(**byte)).count();
    let (left, mut right) = (hit.at - before, hit.at + after);
    if let Some(codec) = spelled_before(text, from, left).or_else(|| spelled_after(text, right)) {
        return Around::Wrapped(codec);
    }
    let Some(spare) = before.checked_sub(back) else { return Around::Nothing };
    let start = left + spare % 4;
    if (right - start) % 4 == 1 {
        right -= 1;
    }
    if right < hit.end {
        return Around::Nothing;
    }
    let padding = text[right..].iter().take_while(|byte| **byte == b'=').count();
    let wanted = (4 - (right - start) % 4) % 4;
    let padded = if wanted == 0 { 0 } else { padding };
    if (padded != 0 && padded != wanted)
        || has_loose_bits(&text[start..right])
        || is_broken_line(text, left, right)
    {
        return Around::Broken { end: right };
    }
    Around::Run(Run { data: start..right, end: right + padded })
}

fn spelled_before(text: &[u8], from: usize, left: usize) -> Option<Codec> {
    let before = left.checked_sub(1).filter(|before| *before >= from)?;
    match text[before] {
        b'%' => Codec::Percent.unit(&text[before..]).map(|_| Codec::Percent),
        b'\\' => Codec::Backslash.unit(&text[before..]).map(|_| Codec::Backslash),
        b';' => {
            let unit = Codec::Html.last_unit(&text[from..left])?;
            matches!(unit.bytes(), b"+" | b"/").then_some(Codec::Html)
        }
        _ => None,
    }
}

fn spelled_after(text: &[u8], right: usize) -> Option<Codec> {
    let codec = match text.get(right)? {
        b'%' => Codec::Percent,
        b'\\' => Codec::Backslash,
        b'&' => Codec::Html,
        _ => return None,
    };
    let unit = codec.unit(&text[right..])?;
    // Or one that is spelled twice: `%252B`.
    matches!(unit.bytes(), b"+" | b"/" | b"-" | b"_" | b"=" | b"%" | b"\\" | b"&").then_some(codec)
}

/// Whether the run is one line of several. Its lines are cut without regard to what they hold, so that addresses across
/// two of them would be missed; and padding in the middle would end it.
fn is_broken_line(text: &[u8], left: usize, right: usize) -> bool {
    let line_after = text[right..].iter().take(2).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let goes_on = line_after > 0 && text.get(right + line_after).copied().is_some_and(is_digit);
    let line_before =
        text[..left].iter().rev().take(2).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let previous =
        text[..left - line_before].iter().rev().take(LINE).take_while(|byte| is_digit(**byte)).count();
    (goes_on && right - left >= LINE) || (line_before > 0 && previous == LINE)
}

impl Run {
    /// Writes the run anew from the first group on that an edit changes.
    pub(crate) fn write(&self, text: &[u8], base: usize, decoded: &[u8], inner: &Edits, out: &mut Edits) {
        let Some((first, _)) = inner.iter().next() else { return };
        let groups = first.start / 3;
        let from = self.data.start + groups * 4;
        let new = inner.apply(decoded, groups * 3);
        let tail = &text[from..self.data.end];
        // What is not written anew may be no base64: `id-aHR0cDovL…`.
        let safe = memchr::memchr2(b'-', b'_', tail).is_some() && memchr::memchr2(b'+', b'/', tail).is_none();
        let padded = self.end > self.data.end || (self.data.len().is_multiple_of(4) && !safe);
        out.push(base + from..base + self.end, |to| {
            let mut code = encode(&new);
            if !padded {
                code.truncate((new.len() * 4).div_ceil(3));
            }
            to.extend(if safe { url_safe(&code) } else { code });
        });
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What each character stands for, in either alphabet; of no others is asked.
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

fn bits(group: &[u8]) -> u32 {
    group.iter().fold(0, |sum, digit| sum << 6 | u32::from(VALUES[usize::from(*digit)]))
        << (6 * (4 - group.len()))
}

/// Whether the last group says more than whole bytes.
fn has_loose_bits(data: &[u8]) -> bool {
    let rest = data.len() % 4;
    let group = bits(&data[data.len() - rest..]);
    match rest {
        2 => group & 0xffff != 0,
        3 => group & 0xff != 0,
        _ => false,
    }
}

/// The bytes of a run without padding.
pub(crate) fn decode(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() / 4 * 3 + 3);
    for group in data.chunks(4) {
        let [_, one, two, three] = bits(group).to_be_bytes();
        bytes.extend_from_slice(&[one, two, three]);
    }
    bytes.truncate(data.len() * 3 / 4);
    bytes
}

/// The standard alphabet, padded.
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

/// The same text in the URL-safe alphabet.
pub(crate) fn url_safe(text: &[u8]) -> Vec<u8> {
    let safe = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    text.iter().map(safe).collect()
}
