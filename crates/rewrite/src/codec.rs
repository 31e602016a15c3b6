//! Encodings that spell single characters: backslash escapes, percent-encoding, character references.
//!
//! A text is decoded with a map back to where each byte came from, so that a replacement in the decoded text becomes
//! one in the written text, spelled the way its surroundings are.

use std::ops::Range;

use crate::edits::Edits;
use crate::report::Encoding;

mod spell;
mod unit;

use spell::Speller;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// `\/`, `\"`, `\u00fc`, `\x2f`.
    Backslash,
    /// `%2F`.
    Percent,
    /// `&amp;`, `&#x2F;`.
    Html,
    /// A literal of SQL in these quotes: `\'`, `''`, `\\`; the backslash only where it escapes.
    Sql { quote: u8, escapes: bool },
}

/// A decoded text and where it came from.
#[derive(Default)]
pub(crate) struct Decoded {
    pub(crate) bytes: Vec<u8>,
    /// From this decoded offset on, up to the next one, the text is as written, beginning at this written offset.
    steps: Vec<(usize, usize)>,
}

impl Decoded {
    /// Where a written offset is in the decoded text.
    pub(crate) fn place(&self, raw: usize) -> usize {
        let passed = self.steps.partition_point(|(_, written)| *written <= raw);
        let (decoded, written) = passed.checked_sub(1).map_or((0, 0), |last| self.steps[last]);
        decoded + raw - written
    }

    pub(crate) fn room(&self) -> usize {
        self.bytes.capacity() + self.steps.capacity() * size_of::<(usize, usize)>()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.steps.clear();
    }
}

/// A written text that was decoded.
pub(crate) struct Written<'t> {
    /// The text it is part of.
    pub(crate) whole: &'t [u8],
    pub(crate) range: Range<usize>,
    /// Where the whole begins in the text that edits are made to.
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

    /// The text one layer further in.
    pub(crate) fn decode(self, raw: &[u8], decoded: &mut Decoded) {
        decoded.bytes.reserve(raw.len());
        let (mut at, mut copied) = (0, 0);
        while let Some(next) = self.next_lead(&raw[at..]) {
            at += next;
            let Some(unit) = self.unit(&raw[at..]) else {
                at += 1;
                continue;
            };
            decoded.bytes.extend_from_slice(&raw[copied..at]);
            decoded.bytes.extend_from_slice(unit.bytes());
            at += unit.len;
            copied = at;
            decoded.steps.push((decoded.bytes.len(), at));
        }
        decoded.bytes.extend_from_slice(&raw[copied..]);
    }

    /// Where the next spelled character may be.
    fn next_lead(self, text: &[u8]) -> Option<usize> {
        let (one, other) = (self.lead(), self.other_lead());
        if one == other { memchr::memchr(one, text) } else { memchr::memchr2(one, other, text) }
    }

    /// Turns edits of the decoded text into edits of the written one.
    pub(crate) fn write(self, written: Written<'_>, decoded: &Decoded, inner: &Edits, out: &mut Edits) {
        let Written { whole, range, base } = written;
        let raw = &whole[range.clone()];
        // What is percent-encoded is so as a whole; the text around it is another matter.
        let around = if self == Self::Percent { raw } else { whole };
        let mut speller = Speller::new(self, [raw, around]);
        let mut place = Place { steps: &decoded.steps, next: 0 };
        for (inner, new) in inner.iter() {
            let old = place.raw(inner.start)..place.raw(inner.end);
            let start = base + range.start;
            out.push(start + old.start..start + old.end, |to| speller.spell(new, &raw[old], to));
        }
    }

    /// The text around a hit that is decoded as one, nothing of which lies before `from`.
    pub(crate) fn extent(self, text: &[u8], from: usize, hit: Range<usize>) -> Range<usize> {
        let start = self.start(text, from, hit.start);
        if self == Self::Backslash {
            return start..next_quote(text, hit.end, None);
        }
        let rest = &text[hit.end..];
        let rest = &rest[..rest.iter().position(|byte| self.ends(*byte)).unwrap_or(rest.len())];
        // Behind the last encoded character something else may have begun: `?u=http%3A%2F%2Fexample.com&v=http:\/\/`.
        start..hit.end + if self == Self::Percent { last_encoded(rest) } else { rest.len() }
    }

    /// Where a text in this spelling begins that goes on at an offset.
    fn start(self, text: &[u8], from: usize, at: usize) -> usize {
        let before = &text[from..at];
        if self == Self::Backslash {
            let mut quotes = memchr::memrchr3_iter(b'"', b'\'', b'`', before).map(|quote| from + quote);
            return quotes.find(|quote| !escaped(text, from, *quote)).map_or(from, |quote| quote + 1);
        }
        let Some(end) = before.iter().rposition(|byte| self.ends(*byte)) else { return from };
        match Self::Backslash.unit(&before[end..]) {
            // `\u0022a%3A1%3A`: the escape does not belong to it.
            Some(unit) => (from + end + unit.len).min(at),
            None => from + end + 1,
        }
    }

    /// Whether a byte is none of a text in this spelling.
    pub(crate) fn ends(self, byte: u8) -> bool {
        let space = byte.is_ascii_whitespace() || byte == b'\\';
        is_quote(byte) || matches!(byte, b'<' | b'>') || (self == Self::Percent && space)
    }

    /// The codec in whose spelling a structure's quotes are written. It begins at one offset, and at another a bare quote
    /// was expected.
    pub(crate) fn of_quote(text: &[u8], start: usize, at: usize) -> Option<Self> {
        // `\"a:1:{i:0;s:2:&quot;`: the backslashes are around the references.
        if start > 0 && is_quote(text[start - 1]) && escaped(text, 0, start - 1) {
            return Some(Self::Backslash);
        }
        let codec = match text.get(at)? {
            b'\\' => Self::Backslash,
            b'&' => Self::Html,
            _ => return None,
        };
        // `&amp;quot;` and `\\\"` are quotes two layers deep; a space is one between the parts of JSON.
        let unit = codec.unit(&text[at..])?;
        matches!(unit.bytes(), [b'"' | b'\'' | b'&' | b'\\' | b'\n' | b'\r' | b'\t']).then_some(codec)
    }

    /// The codec in whose spelling the last character of a text is written, where that looks like a letter or digit:
    /// `%3A`, `\u003a`, `\n`.
    pub(crate) fn of_end(text: &[u8]) -> Option<Self> {
        let ends = |codec: Self, back: usize| {
            let last = text.len().checked_sub(back).map(|at| &text[at..]);
            last.and_then(|last| codec.unit(last)).is_some_and(|unit| unit.len == back)
        };
        if ends(Self::Percent, 3) {
            return Some(Self::Percent);
        }
        [2, 4, 6].into_iter().any(|back| ends(Self::Backslash, back)).then_some(Self::Backslash)
    }

    /// The text around a structure that begins at an offset and is written in this spelling, nothing of which lies before
    /// `from`; and the codec that comes off first.
    pub(crate) fn around(self, text: &[u8], from: usize, start: usize) -> (Self, Range<usize>) {
        let end = self.end(text, start);
        let quoted = text.get(end).copied().is_some_and(is_quote);
        if self == Self::Html && quoted && escaped(text, start, end) {
            return Self::Backslash.around(text, from, start);
        }
        (self, self.start(text, from, start)..end)
    }

    /// Where a structure in this spelling ends: at the quote that was before it, else at one it could not hold.
    fn end(self, text: &[u8], start: usize) -> usize {
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

/// Where what is percent-encoded in a text ends, and what cannot be told from it.
fn last_encoded(text: &[u8]) -> usize {
    let codes = memchr::memrchr_iter(b'%', text);
    let mut ends = codes.filter_map(|at| Some(at + Codec::Percent.unit(&text[at..])?.len));
    let end = ends.next().unwrap_or(0);
    end + text[end..].iter().take_while(|byte| is_unreserved(**byte)).count()
}

/// What is the same in every encoding of single characters.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

struct Place<'d> {
    steps: &'d [(usize, usize)],
    next: usize,
}

impl Place<'_> {
    /// Where a decoded offset is in the written text. Asked in rising order.
    fn raw(&mut self, at: usize) -> usize {
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

/// Whether an odd number of backslashes is before an offset.
fn escaped(text: &[u8], from: usize, at: usize) -> bool {
    text[from..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The next quote that no backslash escapes: that one, or any.
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
