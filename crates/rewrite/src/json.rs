//! Parses JSON documents without building values.

use crate::found_strings::{MAX_NESTING, ParseError, StringCollector, StringForm};
use crate::report::Malformed;

/// Whether the bracket at this offset may start a document. A cheap check that rejects most other brackets.
pub(crate) fn may_start(text: &[u8], at: usize) -> bool {
    let next = text[at + 1..].iter().find(|byte| !is_space(**byte)).copied().unwrap_or(0);
    match text.get(at) {
        Some(b'{') => matches!(next, b'"' | b'\\' | b'&'),
        Some(b'[') => {
            matches!(next, b'"' | b'\\' | b'&' | b'{' | b'[' | b'-' | b't' | b'f' | b'n' | b'0'..=b'9')
        }
        _ => false,
    }
}

/// Parses the object or array at an offset and returns where it ends. Control characters in strings are accepted and
/// numbers are not checked: nothing here depends on them.
pub(crate) fn parse(text: &[u8], start: usize, strings: StringCollector<'_>) -> Result<usize, ParseError> {
    let mut parser = Parser { text, at: start, reason: Malformed::Json, strings };
    let end = parser.value().map(|()| parser.at);
    end.ok_or(ParseError { at: parser.at, reason: parser.reason })
}

/// On an error, the parser stops at `at`; `reason` is set before.
struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    reason: Malformed,
    strings: StringCollector<'t>,
}

// The kinds of containers around a value.
const TOP_LEVEL: usize = 0;
const ARRAY: usize = 1;
const OBJECT: usize = 2;

impl Parser<'_> {
    fn value(&mut self) -> Option<()> {
        // The containers around this one are in `open`.
        let mut container = TOP_LEVEL;
        loop {
            if container == OBJECT {
                self.key()?;
            }
            let first = self.peek();
            match first {
                b'"' => self.string(false)?,
                b'{' | b'[' => {
                    self.at += 1;
                    let (kind, end) = if first == b'{' { (OBJECT, b'}') } else { (ARRAY, b']') };
                    if self.peek() != end {
                        self.open(container)?;
                        container = kind;
                        continue;
                    }
                    self.at += 1;
                }
                _ => self.scalar()?,
            }
            // After a value.
            loop {
                if container == TOP_LEVEL {
                    return Some(());
                }
                let next = self.peek();
                self.at += 1;
                match next {
                    b',' => break,
                    b'}' if container == OBJECT => container = self.strings.open.pop()?,
                    b']' if container == ARRAY => container = self.strings.open.pop()?,
                    _ => {
                        self.at -= 1;
                        return None;
                    }
                }
            }
        }
    }

    fn open(&mut self, container: usize) -> Option<()> {
        if self.strings.open.len() == MAX_NESTING {
            self.reason = Malformed::TooDeep;
            return None;
        }
        self.strings.open.push(container);
        Some(())
    }

    #[inline(always)]
    fn key(&mut self) -> Option<()> {
        if self.peek() != b'"' {
            return None;
        }
        self.string(true)?;
        if self.peek() != b':' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    #[inline(always)]
    fn string(&mut self, is_name: bool) -> Option<()> {
        let start = self.at + 1;
        // Most strings are short.
        let near = self.text.get(start..).and_then(|rest| rest.first_chunk()).and_then(find_special);
        let Some((end, b'"')) = near.map(|(offset, byte)| (start + offset, byte)) else {
            return self.long_string(start, is_name);
        };
        self.strings.add(start..end, || if is_name { StringForm::Name } else { StringForm::Plain });
        self.at = end + 1;
        Some(())
    }

    #[inline(never)]
    fn long_string(&mut self, start: usize, is_name: bool) -> Option<()> {
        self.at = start;
        let mut escaped = false;
        while self.find_special()? != b'"' {
            escaped = true;
            self.at += escape(&self.text[self.at..])?;
        }
        self.strings.add(start..self.at, || match (is_name, escaped) {
            (true, _) => StringForm::Name,
            (_, true) => StringForm::Escaped,
            _ => StringForm::Plain,
        });
        self.at += 1;
        Some(())
    }

    /// Moves to the next quote or backslash. The first bytes are searched in words of eight, without the set-up cost
    /// of a search for long texts.
    fn find_special(&mut self) -> Option<u8> {
        let (near, _) = self.text.get(self.at..)?.as_chunks();
        for chunk in near.iter().take(SHORT_STRING_WORDS) {
            if let Some((offset, byte)) = find_special(chunk) {
                self.at += offset;
                return Some(byte);
            }
            self.at += chunk.len();
        }
        let rest = self.text.get(self.at..)?;
        self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        self.text.get(self.at).copied()
    }

    fn scalar(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let number =
            || rest.iter().take_while(|byte| byte.is_ascii_digit() || b"-+.eE".contains(byte)).count();
        let length = match rest {
            [b't', b'r', b'u', b'e', ..] | [b'n', b'u', b'l', b'l', ..] => 4,
            [b'f', b'a', b'l', b's', b'e', ..] => 5,
            _ => number(),
        };
        self.at += length;
        (length > 0).then_some(())
    }

    /// Skips white space and returns the next byte; 0 at the end.
    fn peek(&mut self) -> u8 {
        while let Some(&byte) = self.text.get(self.at) {
            if !is_space(byte) {
                return byte;
            }
            self.at += 1;
        }
        0
    }
}

/// The length of a JSON escape sequence.
fn escape(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => text.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// Most strings are at most this many words of eight bytes long.
const SHORT_STRING_WORDS: usize = 4;

/// The offset of the first quote or backslash in eight bytes, and which of them it is.
#[inline]
fn find_special(chunk: &[u8; 8]) -> Option<(usize, u8)> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([128; 8]);
    let word = u64::from_le_bytes(*chunk);
    // The top bit of each zero byte is set; the bits above the first one may be wrong.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
    let offset = found.trailing_zeros() as usize / 8;
    chunk.get(offset).map(|byte| (offset, *byte))
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}
