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

/// Reads the object or array that begins at an offset, and says where it ends. Control characters in strings are let pass, and numbers are not
/// checked: nothing here depends on them.
pub(crate) fn read(text: &[u8], start: usize, strings: Strings<'_>) -> Result<usize, Broken> {
    let mut reader = Reader { text, at: start, strings };
    reader.value()?;
    Ok(reader.at)
}

/// For each open bracket it is noted whether it is an object's: one, or an array's: zero.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    strings: Strings<'t>,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<(), Broken> {
        loop {
            let ended = match self.peek()? {
                b'{' => self.begin(true)?,
                b'[' => self.begin(false)?,
                b'"' => self.string(false).map(|()| true)?,
                _ => self.scalar().map(|()| true)?,
            };
            if ended && self.after_value()? {
                return Ok(());
            }
        }
    }

    /// Opens an object or array; says whether it ended at once.
    fn begin(&mut self, object: bool) -> Result<bool, Broken> {
        if self.strings.open.len() == LEVELS {
            return Err(Broken { at: self.at, reason: Malformed::TooDeep });
        }
        self.at += 1;
        if self.peek()? == if object { b'}' } else { b']' } {
            self.at += 1;
            return Ok(true);
        }
        self.strings.open.push(object.into());
        if object {
            self.key()?;
        }
        Ok(false)
    }

    /// Reads what comes after a value, up to the next value; says whether there is none.
    fn after_value(&mut self) -> Result<bool, Broken> {
        while let Some(&open) = self.strings.open.last() {
            let object = open == 1;
            match (self.peek()?, object) {
                (b',', _) => {
                    self.at += 1;
                    if object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                (b'}', true) | (b']', false) => {
                    self.at += 1;
                    self.strings.open.pop();
                }
                _ => return Err(self.broken()),
            }
        }
        Ok(true)
    }

    fn key(&mut self) -> Result<(), Broken> {
        if self.peek()? != b'"' {
            return Err(self.broken());
        }
        self.string(true)?;
        if self.peek()? != b':' {
            return Err(self.broken());
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self, is_name: bool) -> Result<(), Broken> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            at += special(rest).ok_or(Broken { at: self.text.len(), ..self.broken() })?;
            if self.text[at] == b'"' {
                break;
            }
            escaped = true;
            at += match self.text.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                Some(b'u')
                    if self.text[at + 2..].iter().take(4).filter(|byte| byte.is_ascii_hexdigit()).count()
                        == 4 =>
                {
                    6
                }
                _ => return Err(Broken { at, reason: Malformed::Json }),
            };
        }
        self.at = at + 1;
        self.strings.add(start..at, || match (is_name, escaped) {
            (true, _) => Form::Name,
            (_, true) => Form::Escaped,
            _ => Form::Plain,
        });
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Broken> {
        let rest = &self.text[self.at..];
        let word = match rest.first() {
            Some(b't') => Some(&b"true"[..]),
            Some(b'f') => Some(&b"false"[..]),
            Some(b'n') => Some(&b"null"[..]),
            _ => None,
        };
        let number =
            || rest.iter().take_while(|byte| byte.is_ascii_digit() || b"-+.eE".contains(byte)).count();
        match word.map_or_else(number, |word| if rest.starts_with(word) { word.len() } else { 0 }) {
            0 => Err(self.broken()),
            length => {
                self.at += length;
                Ok(())
            }
        }
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Result<u8, Broken> {
        while let Some(&byte) = self.text.get(self.at) {
            if !is_space(byte) {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(self.broken())
    }

    fn broken(&self) -> Broken {
        Broken { at: self.at, reason: Malformed::Json }
    }
}

/// The first quote or backslash. Most strings are short, so that the first bytes are looked at eight by eight, without
/// the preparations of a search made for long texts.
fn special(text: &[u8]) -> Option<usize> {
    const NEAR: usize = 32;
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([128; 8]);
    let (near, _) = text[..text.len().min(NEAR)].as_chunks::<8>();
    for (at, chunk) in near.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        // A byte's top bit is set where it is zero; above the first one perhaps in others.
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let passed = near.len() * 8;
    Some(passed + memchr::memchr2(b'"', b'\\', &text[passed..])?)
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}
