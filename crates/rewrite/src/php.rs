//! Reads what PHP's `serialize` writes: every type, without building any of it.

use std::ops::Range;

use crate::codec::Codec;
use crate::report::Malformed;
use crate::span::{Broken, Form, LEVELS, Strings};

/// Whether something serialised that has parts may begin here: a letter, a colon, a number, a colon.
pub(crate) fn may_begin(text: &[u8], at: usize) -> bool {
    let letter = matches!(text.get(at), Some(b'a' | b'O' | b'C' | b'E' | b's' | b'S'));
    let digits = || text[at + 2..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let apart = || match at.checked_sub(1).and_then(|before| text.get(before)) {
        Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'_' => Codec::of_end(&text[..at]).is_some(),
        _ => true,
    };
    letter
        && text.get(at + 1) == Some(&b':')
        && apart()
        && matches!(digits(), 1..20)
        && text.get(at + 2 + digits()) == Some(&b':')
        && matches!(text.get(at + 3 + digits()), Some(b'"' | b'{' | b'\\' | b'&'))
}

/// Reads the value that begins at an offset, and says where it ends.
pub(crate) fn read(text: &[u8], start: usize, strings: Strings<'_>) -> Result<usize, Broken> {
    let mut reader = Reader { text, at: start, reason: Malformed::PhpSyntax, strings };
    let end = reader.value().map(|()| reader.at);
    end.ok_or(Broken { at: reader.at.min(text.len()), reason: reader.reason })
}

/// Gives up where it is, for a reason that is mostly the same.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    reason: Malformed,
    strings: Strings<'t>,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<()> {
        // How many keys and values of an array or object are still to come; of those around it that is in `open`.
        let mut left = 1;
        loop {
            let is_key = left % 2 == 0;
            if let Some(parts) = self.token(is_key)? {
                if self.strings.open.len() == LEVELS {
                    return self.broken(Malformed::TooDeep);
                }
                self.strings.open.push(left);
                left = parts;
            } else {
                left -= 1;
            }
            while left == 0 {
                let Some(around) = self.strings.open.pop() else { return Some(()) };
                self.expect(b'}')?;
                left = around - 1;
            }
        }
    }

    /// Reads one token. Of an array or object only its head: how many keys and values come.
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
            b'a' => return self.parts().map(Some),
            b'O' => {
                self.name()?;
                self.expect(b':')?;
                return self.parts().map(Some);
            }
            b'C' => self.custom(),
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

    fn scalar(&mut self, holds: impl Fn(u8) -> bool) -> Option<()> {
        let length = self.text[self.at..].iter().take_while(|byte| holds(**byte)).count();
        self.at += length;
        if length == 0 { None } else { self.expect(b';') }
    }

    /// `18:"http://example.com";`
    fn string(&mut self, is_key: bool) -> Option<()> {
        let (length, content) = self.counted()?;
        self.strings.add(content, || if is_key { Form::Name } else { Form::Counted(length) });
        self.expect(b';')
    }

    /// The same with some bytes written as `\2f`. PHP reads it and has never written it.
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
            (true, _) => Form::Name,
            (_, true) => Form::Foreign(Malformed::PhpSyntax),
            _ => Form::Counted(digits),
        });
        self.close_quote()?;
        self.expect(b';')
    }

    /// `11:"ArrayObject":37:{x:i:0;…}`: a class that wrote itself. Only its length is known.
    fn custom(&mut self) -> Option<()> {
        self.name()?;
        self.expect(b':')?;
        let (digits, length) = self.number()?;
        self.expect(b':')?;
        self.expect(b'{')?;
        let content = self.bytes(length)?;
        self.strings.add(content, || Form::Counted(digits));
        if self.text.get(self.at) != Some(&b'}') {
            return self.broken(Malformed::PhpLength);
        }
        self.at += 1;
        Some(())
    }

    /// A class's name.
    fn name(&mut self) -> Option<()> {
        let (_, content) = self.counted()?;
        self.strings.add(content, || Form::Name);
        Some(())
    }

    /// The number of parts of an array or object: keys and values.
    fn parts(&mut self) -> Option<usize> {
        let (_, count) = self.number()?;
        self.expect(b':')?;
        self.expect(b'{')?;
        // The shortest part is `i:0;N;`.
        if count > (self.text.len() - self.at) / 6 {
            return self.broken(Malformed::PhpTruncated);
        }
        Some(count * 2)
    }

    /// `3:"url"`: where the number is, and the string.
    fn counted(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        let (digits, length) = self.number()?;
        self.expect(b':')?;
        self.expect(b'"')?;
        let content = self.bytes(length)?;
        self.close_quote()?;
        Some((digits, content))
    }

    fn close_quote(&mut self) -> Option<()> {
        match self.text.get(self.at) {
            Some(b'"') => self.at += 1,
            Some(_) => return self.broken(Malformed::PhpLength),
            None => return self.broken(Malformed::PhpTruncated),
        }
        Some(())
    }

    fn bytes(&mut self, length: usize) -> Option<Range<usize>> {
        let start = self.at;
        if length > self.text.len() - start {
            return self.broken(Malformed::PhpTruncated);
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
            // What is longer than any text is as long as any other.
            number = number.saturating_mul(10).saturating_add(usize::from(digit));
            self.at += 1;
        }
        (start < self.at).then_some((start..self.at, number))
    }

    fn next(&mut self) -> Option<u8> {
        let Some(byte) = self.text.get(self.at) else { return self.broken(Malformed::PhpTruncated) };
        self.at += 1;
        Some(*byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        match self.text.get(self.at) {
            Some(byte) if *byte == wanted => self.at += 1,
            Some(_) => return None,
            None => return self.broken(Malformed::PhpTruncated),
        }
        Some(())
    }

    /// Gives up for another reason.
    #[cold]
    fn broken<T>(&mut self, reason: Malformed) -> Option<T> {
        self.reason = reason;
        None
    }
}
