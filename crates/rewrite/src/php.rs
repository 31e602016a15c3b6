//! Parses the output of PHP's `serialize`: every type, without building values.

use std::ops::Range;

use crate::codec::Codec;
use crate::found_strings::{MAX_NESTING, ParseError, StringCollector, StringForm};
use crate::report::Malformed;

mod length_unit;

pub(crate) use length_unit::LengthUnit;

/// Whether serialised data may start here: a letter, a colon, a number, a colon.
pub(crate) fn may_start(text: &[u8], at: usize) -> bool {
    let letter = matches!(text.get(at), Some(b'a' | b'O' | b'C' | b'E' | b's' | b'S'));
    let digits = || text[at + 2..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let is_separate = || match at.checked_sub(1).and_then(|before| text.get(before)) {
        Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'_' => {
            Codec::of_last_char(&text[..at]).is_some()
        }
        _ => true,
    };
    letter
        && text.get(at + 1) == Some(&b':')
        && is_separate()
        && matches!(digits(), 1..20)
        && text.get(at + 2 + digits()) == Some(&b':')
        && matches!(text.get(at + 3 + digits()), Some(b'"' | b'{' | b'\\' | b'&'))
}

/// Parses the value at an offset and returns where it ends.
pub(crate) fn parse(
    text: &[u8],
    start: usize,
    unit: LengthUnit,
    strings: StringCollector<'_>,
) -> Result<usize, ParseError> {
    let mut parser = Parser { text, at: start, unit, reason: Malformed::PhpSyntax, strings };
    let end = parser.value().map(|()| parser.at);
    end.ok_or(ParseError { at: parser.at.min(text.len()), reason: parser.reason })
}

/// On an error, the parser stops at `at`; `reason` is set before.
struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    unit: LengthUnit,
    reason: Malformed,
    strings: StringCollector<'t>,
}

impl Parser<'_> {
    fn value(&mut self) -> Option<()> {
        // How many keys and values of the current array or object remain; the counts of the outer ones are in `open`.
        let mut remaining = 1;
        loop {
            let is_key = remaining % 2 == 0;
            if let Some(count) = self.token(is_key)? {
                if self.strings.open.len() == MAX_NESTING {
                    return self.fail(Malformed::TooDeep);
                }
                self.strings.open.push(remaining);
                remaining = count;
            } else {
                remaining -= 1;
            }
            while remaining == 0 {
                let Some(outer) = self.strings.open.pop() else { return Some(()) };
                self.expect(b'}')?;
                remaining = outer - 1;
            }
        }
    }

    /// Parses one token. Of an array or object it parses only the head and returns how many keys and values follow.
    fn token(&mut self, is_key: bool) -> Option<Option<usize>> {
        let letter = self.next()?;
        if is_key && !matches!(letter, b'i' | b's' | b'S') {
            self.at -= 1;
            return None;
        }
        if letter == b'N' {
            return self.expect(b';').map(|()| None);
        }
        self.expect(b':')?;
        match letter {
            b's' => self.string(is_key),
            b'i' | b'r' | b'R' => self.scalar(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+')),
            b'b' => self.scalar(|byte| matches!(byte, b'0' | b'1')),
            b'd' => self.scalar(|byte| byte.is_ascii_digit() || b"-+.eEINFA".contains(&byte)),
            b'S' => self.escaped_string(is_key),
            b'a' => return self.key_and_value_count().map(Some),
            b'O' => {
                self.name()?;
                self.expect(b':')?;
                return self.key_and_value_count().map(Some);
            }
            b'C' => self.custom_class(),
            b'E' => {
                self.name()?;
                self.expect(b';')
            }
            _ => {
                self.at -= 2;
                None
            }
        }?;
        Some(None)
    }

    fn scalar(&mut self, accepts: impl Fn(u8) -> bool) -> Option<()> {
        let length = self.text[self.at..].iter().take_while(|byte| accepts(**byte)).count();
        self.at += length;
        if length == 0 { None } else { self.expect(b';') }
    }

    /// `18:"http://example.com";`
    fn string(&mut self, is_key: bool) -> Option<()> {
        let ((length, content), unit) = (self.counted()?, self.unit);
        self.strings
            .add(content, || if is_key { StringForm::Name } else { StringForm::Counted(length, unit) });
        self.expect(b';')
    }

    /// The same with some bytes written as `\2f`. `unserialize` accepts this form; `serialize` does not write it.
    fn escaped_string(&mut self, is_key: bool) -> Option<()> {
        let (digits, length) = self.number()?;
        self.expect(b':')?;
        self.expect(b'"')?;
        let start = self.at;
        let mut escapes = false;
        for _ in 0..length {
            if self.next()? == b'\\' {
                escapes = true;
                self.at += 2;
            }
        }
        let content = start..self.at.min(self.text.len());
        self.strings.add(content, || match (is_key, escapes) {
            (true, _) => StringForm::Name,
            (_, true) => StringForm::Unwritable(Malformed::PhpSyntax),
            _ => StringForm::Counted(digits, LengthUnit::Bytes),
        });
        self.close_quote()?;
        self.expect(b';')
    }

    /// `11:"ArrayObject":37:{x:i:0;…}`: a class with its own `serialize` method. Only the length of its data is
    /// known.
    fn custom_class(&mut self) -> Option<()> {
        self.name()?;
        self.expect(b':')?;
        let (digits, length) = self.number()?;
        self.expect(b':')?;
        self.expect(b'{')?;
        let (content, unit) = (self.content(length)?, self.unit);
        self.strings.add(content, || StringForm::Counted(digits, unit));
        if self.text.get(self.at) != Some(&b'}') {
            return self.fail(Malformed::PhpLength);
        }
        self.at += 1;
        Some(())
    }

    /// A class name.
    fn name(&mut self) -> Option<()> {
        let (_, content) = self.counted()?;
        self.strings.add(content, || StringForm::Name);
        Some(())
    }

    /// The number of keys and values of an array or object.
    fn key_and_value_count(&mut self) -> Option<usize> {
        let (_, count) = self.number()?;
        self.expect(b':')?;
        self.expect(b'{')?;
        // The shortest part is `i:0;N;`.
        if count > (self.text.len() - self.at) / 6 {
            return self.fail(Malformed::PhpTruncated);
        }
        Some(count * 2)
    }

    /// `3:"url"`: the ranges of the number and of the string.
    fn counted(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        let (digits, length) = self.number()?;
        self.expect(b':')?;
        self.expect(b'"')?;
        let content = self.content(length)?;
        self.close_quote()?;
        Some((digits, content))
    }

    fn close_quote(&mut self) -> Option<()> {
        match self.text.get(self.at) {
            Some(b'"') => self.at += 1,
            Some(_) => return self.fail(Malformed::PhpLength),
            None => return self.fail(Malformed::PhpTruncated),
        }
        Some(())
    }

    /// The range of a content of this length.
    fn content(&mut self, length: usize) -> Option<Range<usize>> {
        let start = self.at;
        if self.unit != LengthUnit::Bytes {
            let end = self.unit.end_of(&self.text[start..], length).map(|end| start + end);
            self.at = end.unwrap_or(self.text.len());
            return if end.is_some() { Some(start..self.at) } else { self.fail(Malformed::PhpTruncated) };
        }
        if length > self.text.len() - start {
            return self.fail(Malformed::PhpTruncated);
        }
        self.at += length;
        Some(start..self.at)
    }

    fn number(&mut self) -> Option<(Range<usize>, usize)> {
        let start = self.at;
        let mut number = 0_usize;
        for digit in
            self.text[start..].iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10)
        {
            // Saturates: a length beyond the text is an error anyway.
            number = number.saturating_mul(10).saturating_add(usize::from(digit));
            self.at += 1;
        }
        (start < self.at).then_some((start..self.at, number))
    }

    fn next(&mut self) -> Option<u8> {
        let Some(byte) = self.text.get(self.at) else { return self.fail(Malformed::PhpTruncated) };
        self.at += 1;
        Some(*byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        match self.text.get(self.at) {
            Some(byte) if *byte == wanted => self.at += 1,
            Some(_) => return None,
            None => return self.fail(Malformed::PhpTruncated),
        }
        Some(())
    }

    /// Fails with another reason.
    #[cold]
    fn fail<T>(&mut self, reason: Malformed) -> Option<T> {
        self.reason = reason;
        None
    }
}
