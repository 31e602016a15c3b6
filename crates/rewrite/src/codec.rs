//! Encodings of single characters: backslash escapes, percent-encoding, character references.
//!
//! A text is decoded together with a map from decoded to written offsets. A replacement in the decoded text becomes
//! one in the written text, encoded in the style of its surroundings.

use std::ops::Range;

use crate::edits::Edits;
use crate::report::Encoding;

mod encoded_char;
mod encoder;

use encoder::Encoder;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// `\/`, `\"`, `\u00fc`, `\x2f`.
    Backslash,
    /// `%2F`.
    Percent,
    /// `&amp;`, `&#x2F;`.
    Html,
    /// An SQL literal in these quotes: `\'`, `''`, `\\`. Backslashes escape only if `escapes` is set.
    Sql { quote: u8, escapes: bool },
}

/// A decoded text with a map to its written offsets.
#[derive(Default)]
pub(crate) struct Decoded {
    pub(crate) bytes: Vec<u8>,
    /// Pairs of decoded and written offsets. From each pair up to the next, both texts are the same.
    offset_map: Vec<(usize, usize)>,
}

impl Decoded {
    /// The decoded offset of a written one.
    pub(crate) fn decoded_offset(&self, raw: usize) -> usize {
        let passed = self.offset_map.partition_point(|(_, written)| *written <= raw);
        let (decoded, written) = passed.checked_sub(1).map_or((0, 0), |last| self.offset_map[last]);
        decoded + raw - written
    }

    /// Appends text that is written as it is, and a character that is written differently, up to this offset.
    pub(crate) fn push(&mut self, plain: &[u8], char: &[u8], written_end: usize) {
        self.bytes.extend_from_slice(plain);
        self.bytes.extend_from_slice(char);
        self.offset_map.push((self.bytes.len(), written_end));
    }

    /// Converts edits of the decoded text into edits of the written text; the new text is written as it is.
    pub(crate) fn write_plain_edits(&self, inner: &Edits, out: &mut Edits) {
        let mut offsets = OffsetMap { steps: &self.offset_map, next: 0 };
        for (range, new) in inner.iter() {
            let old = offsets.written(range.start)..offsets.written(range.end);
            out.push(old, |to| to.extend_from_slice(new));
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.offset_map.capacity() * size_of::<(usize, usize)>()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.offset_map.clear();
    }
}

/// The written text that was decoded.
pub(crate) struct Written<'t> {
    /// The text that contains the range.
    pub(crate) text: &'t [u8],
    pub(crate) range: Range<usize>,
    /// Offset of `text` in the text that the edits apply to.
    pub(crate) base: usize,
}

impl Codec {
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Backslash | Self::Sql { .. } => Encoding::Backslash,
            Self::Percent => Encoding::Percent,
            Self::Html => Encoding::Html,
        }
    }

    /// Decodes one layer.
    pub(crate) fn decode(self, raw: &[u8], decoded: &mut Decoded) {
        decoded.bytes.reserve(raw.len());
        let (mut at, mut copied) = (0, 0);
        while let Some(next) = self.next_escape(&raw[at..]) {
            at += next;
            let Some(char) = self.parse_char(&raw[at..]) else {
                at += 1;
                continue;
            };
            decoded.push(&raw[copied..at], char.bytes(), at + char.len);
            at += char.len;
            copied = at;
        }
        decoded.bytes.extend_from_slice(&raw[copied..]);
    }

    /// The offset of the next byte that may start an encoded character.
    fn next_escape(self, text: &[u8]) -> Option<usize> {
        let (one, other) = (self.escape_byte(), self.alt_escape_byte());
        if one == other { memchr::memchr(one, text) } else { memchr::memchr2(one, other, text) }
    }

    /// Converts edits of the decoded text into edits of the written text.
    pub(crate) fn write_edits(self, written: Written<'_>, decoded: &Decoded, inner: &Edits, out: &mut Edits) {
        let Written { text, range, base } = written;
        let raw = &text[range.clone()];
        // A percent-encoded part is encoded throughout, regardless of the text around it.
        let surroundings = if self == Self::Percent { raw } else { text };
        let mut encoder = Encoder::new(self, [raw, surroundings]);
        let mut offsets = OffsetMap { steps: &decoded.offset_map, next: 0 };
        for (inner, new) in inner.iter() {
            let old = offsets.written(inner.start)..offsets.written(inner.end);
            let start = base + range.start;
            out.push(start + old.start..start + old.end, |to| encoder.encode_like(new, &raw[old], to));
        }
    }

    /// The range around a hit that is decoded at once. It does not start before `from`.
    pub(crate) fn range_around_hit(self, text: &[u8], from: usize, hit: Range<usize>) -> Range<usize> {
        let start = self.text_start(text, from, hit.start);
        if self == Self::Backslash {
            return start..next_quote(text, hit.end, None);
        }
        let rest = &text[hit.end..];
        let rest = &rest[..rest.iter().position(|byte| self.is_terminator(*byte)).unwrap_or(rest.len())];
        // Text after the last encoded character may be in another encoding:
        // `?u=http%3A%2F%2Fexample.com&v=http:\/\/`.
        start..hit.end + if self == Self::Percent { encoded_end(rest) } else { rest.len() }
    }

    /// Where the encoded text that contains an offset starts.
    fn text_start(self, text: &[u8], from: usize, at: usize) -> usize {
        let before = &text[from..at];
        if self == Self::Backslash {
            let mut quotes = memchr::memrchr3_iter(b'"', b'\'', b'`', before).map(|quote| from + quote);
            return quotes.find(|quote| !is_escaped(text, from, *quote)).map_or(from, |quote| quote + 1);
        }
        let Some(end) = before.iter().rposition(|byte| self.is_terminator(*byte)) else { return from };
        match Self::Backslash.parse_char(&before[end..]) {
            // In `\u0022a%3A1%3A`, the escape is not part of the percent-encoded text.
            Some(char) => (from + end + char.len).min(at),
            None => from + end + 1,
        }
    }

    /// Whether a byte cannot occur in a text of this encoding.
    pub(crate) fn is_terminator(self, byte: u8) -> bool {
        let space = byte.is_ascii_whitespace() || byte == b'\\';
        is_quote(byte) || matches!(byte, b'<' | b'>') || (self == Self::Percent && space)
    }

    /// The codec of a structure's quotes. The structure starts at `start`; at `at` the parser expected a bare quote.
    pub(crate) fn of_quote(text: &[u8], start: usize, at: usize) -> Option<Self> {
        // In `\"a:1:{i:0;s:2:&quot;`, backslashes are the outer encoding.
        if start > 0 && is_quote(text[start - 1]) && is_escaped(text, 0, start - 1) {
            return Some(Self::Backslash);
        }
        let codec = match text.get(at)? {
            b'\\' => Self::Backslash,
            b'&' => Self::Html,
            _ => return None,
        };
        // `&amp;quot;` and `\\\"` are quotes in two layers; white space separates the parts of JSON.
        let char = codec.parse_char(&text[at..])?;
        matches!(char.bytes(), [b'"' | b'\'' | b'&' | b'\\' | b'\n' | b'\r' | b'\t']).then_some(codec)
    }

    /// The codec of the last character of a text, if its encoded form ends with a letter or digit: `%3A`, `\u003a`,
    /// `\n`.
    pub(crate) fn of_last_char(text: &[u8]) -> Option<Self> {
        let ends = |codec: Self, len: usize| {
            let last = text.len().checked_sub(len).map(|at| &text[at..]);
            last.and_then(|last| codec.parse_char(last)).is_some_and(|char| char.len == len)
        };
        if ends(Self::Percent, 3) {
            return Some(Self::Percent);
        }
        [2, 4, 6].into_iter().any(|len| ends(Self::Backslash, len)).then_some(Self::Backslash)
    }

    /// The encoded range around a structure that starts at an offset, and the codec to decode it with first. The
    /// range does not start before `from`.
    pub(crate) fn enclosing_range(self, text: &[u8], from: usize, start: usize) -> (Self, Range<usize>) {
        let end = self.structure_end(text, start);
        let quoted = text.get(end).copied().is_some_and(is_quote);
        if self == Self::Html && quoted && is_escaped(text, start, end) {
            return Self::Backslash.enclosing_range(text, from, start);
        }
        (self, self.text_start(text, from, start)..end)
    }

    /// Where an encoded structure ends: at the quote that opened it, or else at a character that it cannot contain.
    fn structure_end(self, text: &[u8], start: usize) -> usize {
        let quote = start.checked_sub(1).and_then(|at| text.get(at)).copied().filter(|byte| is_quote(*byte));
        let rest = &text[start..];
        let found = match (self, quote) {
            (Self::Backslash, quote) => return next_quote(text, start, Some(quote.unwrap_or(b'"'))),
            (_, Some(quote)) => memchr::memchr(quote, rest),
            (_, None) => memchr::memchr2(b'"', b'<', rest),
        };
        found.map_or(text.len(), |at| start + at)
    }
}

/// The end of the percent-encoded part of a text, including the unreserved characters after it.
fn encoded_end(text: &[u8]) -> usize {
    let codes = memchr::memrchr_iter(b'%', text);
    let mut ends = codes.filter_map(|at| Some(at + Codec::Percent.parse_char(&text[at..])?.len));
    let end = ends.next().unwrap_or(0);
    end + text[end..].iter().take_while(|byte| is_unreserved(**byte)).count()
}

/// Whether a byte is the same in all these encodings (RFC 3986, section 2.3: unreserved characters).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Converts decoded to written offsets, from left to right.
struct OffsetMap<'d> {
    steps: &'d [(usize, usize)],
    next: usize,
}

impl OffsetMap<'_> {
    /// The written offset of a decoded one. Offsets have to be passed in ascending order.
    fn written(&mut self, at: usize) -> usize {
        while self.steps.get(self.next).is_some_and(|(decoded, _)| *decoded <= at) {
            self.next += 1;
        }
        let last = self.next.checked_sub(1).and_then(|last| self.steps.get(last));
        let (decoded, raw) = last.copied().unwrap_or((0, 0));
        raw + at - decoded
    }
}

pub(crate) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Whether an odd number of backslashes precedes an offset.
fn is_escaped(text: &[u8], from: usize, at: usize) -> bool {
    text[from..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The next unescaped quote: the given one, or any.
fn next_quote(text: &[u8], from: usize, which: Option<u8>) -> usize {
    let mut at = from;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            quote if which.map_or(is_quote(quote), |which| quote == which) => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}
