//! Reads JSON documents without building them.

use crate::report::Malformed;
use crate::span::{Broken, Form, LEVELS, Strings};

/// Whether a document may begin with the bracket at this offset. What looks so and is none costs little.
pub(crate) fn may_begin(text: &[u8], at: usize) -> bool {
    let next = text[at + 1..].iter().find(|byte| !is_space(**byte)).copied().unwrap_or(0);
    match text.get(at) {
        Some(b'{') => matches!(next, b'"' | b'\\' | b'&'),
        Some(b'[') => {
            matches!(next, b'"' | b'\\' | b'&' | b'{' | b'[' | b'-' | b't' | b'f' | b'n' | b'0'..=b'9')
        }
        _ => false,
    }
}

/// Reads the object or array that begins at an offset, and says where it ends. Control characters in strings are let
/// pass, and numbers are not checked: nothing here depends on them.
pub(crate) fn read(text: &[u8], start: usize, strings: Strings<'_>) -> Result<usize, Broken> {
    let mut reader = Reader { text, at: start, reason: Malformed::Json, strings };
    let end = reader.value().map(|()| reader.at);
    end.ok_or(Broken { at: reader.at, reason: reader.reason })
}

/// Gives up where it is, for a reason that is mostly the same.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    reason: Malformed,
    strings: Strings<'t>,
}

// What a reader is in.
const NOTHING: usize = 0;
const ARRAY: usize = 1;
const OBJECT: usize = 2;

impl Reader<'_> {
    fn value(&mut self) -> Option<()> {
        // The brackets around this one are in `open`.
        let mut inside = NOTHING;
        loop {
            if inside == OBJECT {
                self.key()?;
            }
            let first = self.peek();
            match first {
                b'"' => self.string(false)?,
                b'{' | b'[' => {
                    self.at += 1;
                    let (kind, end) = if first == b'{' { (OBJECT, b'}') } else { (ARRAY, b']') };
                    if self.peek() != end {
                        self.open(inside)?;
                        inside = kind;
                        continue;
                    }
                    self.at += 1;
                }
                _ => self.scalar()?,
            }
            // What comes after a value.
            loop {
                if inside == NOTHING {
                    return Some(());
                }
                let next = self.peek();
                self.at += 1;
                match next {
                    b',' => break,
                    b'}' if inside == OBJECT => inside = self.strings.open.pop()?,
                    b']' if inside == ARRAY => inside = self.strings.open.pop()?,
                    _ => {
                        self.at -= 1;
                        return None;
                    }
                }
            }
        }
    }

    fn open(&mut self, inside: usize) -> Option<()> {
        if self.strings.open.len() == LEVELS {
            self.reason = Malformed::TooDeep;
            return None;
        }
        self.strings.open.push(inside);
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
        // Most are short.
        let near = self.text.get(start..).and_then(|rest| rest.first_chunk()).and_then(special);
        let Some((end, b'"')) = near.map(|(place, byte)| (start + place, byte)) else {
            return self.long_string(start, is_name);
        };
        self.strings.add(start..end, || if is_name { Form::Name } else { Form::Plain });
        self.at = end + 1;
        Some(())
    }

    #[inline(never)]
    fn long_string(&mut self, start: usize, is_name: bool) -> Option<()> {
        self.at = start;
        let mut escaped = false;
        while self.special()? != b'"' {
            escaped = true;
            self.at += escape(&self.text[self.at..])?;
        }
        self.strings.add(start..self.at, || match (is_name, escaped) {
            (true, _) => Form::Name,
            (_, true) => Form::Escaped,
            _ => Form::Plain,
        });
        self.at += 1;
        Some(())
    }

    /// Goes to the next quote or backslash. At first it is looked for eight by eight bytes, without the preparations of a
    /// search made for long texts.
    fn special(&mut self) -> Option<u8> {
        let (near, _) = self.text.get(self.at..)?.as_chunks();
        for chunk in near.iter().take(NEAR) {
            if let Some((place, byte)) = special(chunk) {
                self.at += place;
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

    /// The next byte that is no space; a NUL where there is none.
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

/// The length of an escape of JSON.
fn escape(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => text.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// So many times eight bytes most strings are long.
const NEAR: usize = 4;

/// The first quote or backslash of eight bytes, and which of them.
#[inline]
fn special(chunk: &[u8; 8]) -> Option<(usize, u8)> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([128; 8]);
    let word = u64::from_le_bytes(*chunk);
    // A byte's top bit is set where it is zero; above the first one perhaps in others.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
    let place = found.trailing_zeros() as usize / 8;
    chunk.get(place).map(|byte| (place, *byte))
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}
