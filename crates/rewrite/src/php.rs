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
    let mut reader = Reader { text, at: start, strings };
    reader.value()?;
    Ok(reader.at)
}

/// For each open array or object it is noted how many keys and values are still to come.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    strings: Strings<'t>,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<(), Broken> {
        loop {
            let is_key = self.strings.open.last().is_some_and(|left| left % 2 == 0);
            match self.token(is_key)? {
                Some(parts) if self.strings.open.len() < LEVELS => self.strings.open.push(parts),
                Some(_) => return Err(self.broken(Malformed::TooDeep)),
                None => self.one_less(),
            }
            while self.strings.open.last() == Some(&0) {
                self.expect(b'}')?;
                self.strings.open.pop();
                self.one_less();
            }
            if self.strings.open.is_empty() {
                return Ok(());
            }
        }
    }

    fn one_less(&mut self) {
        if let Some(left) = self.strings.open.last_mut() {
            *left -= 1;
        }
    }

    /// Reads one token. Of an array or object only its head: how many keys and values come.
    fn token(&mut self, is_key: bool) -> Result<Option<usize>, Broken> {
        let letter = self.next()?;
        if is_key && !matches!(letter, b'i' | b's' | b'S') {
            self.at -= 1;
            return Err(self.broken(Malformed::PhpSyntax));
        }
        if letter == b'N' {
            self.expect(b';')?;
            return Ok(None);
        }
        self.expect(b':')?;
        match letter {
            b'i' | b'r' | b'R' => self.scalar(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+')),
            b'b' => self.scalar(|byte| matches!(byte, b'0' | b'1')),
            b'd' => self.scalar(|byte| byte.is_ascii_digit() || b"-+.eEINFA".contains(&byte)),
            b's' => self.string(is_key),
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
                Err(self.broken(Malformed::PhpSyntax))
            }
        }?;
        Ok(None)
    }

    fn scalar(&mut self, holds: impl Fn(u8) -> bool) -> Result<(), Broken> {
        let start = self.at;
        while self.text.get(self.at).copied().is_some_and(&holds) {
            self.at += 1;
        }
        if start == self.at { Err(self.broken(Malformed::PhpSyntax)) } else { self.expect(b';') }
    }

    /// `18:"http://example.com";`
    fn string(&mut self, is_key: bool) -> Result<(), Broken> {
        let (length, content) = self.counted()?;
        self.strings.add(content, || if is_key { Form::Name } else { Form::Counted(length) });
        self.expect(b';')
    }

    /// The same with some bytes written as `\2f`. PHP reads it and has never written it.
    fn escaped_string(&mut self, is_key: bool) -> Result<(), Broken> {
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
    fn custom(&mut self) -> Result<(), Broken> {
        self.name()?;
        self.expect(b':')?;
        let (digits, length) = self.number()?;
        self.expect(b':')?;
        self.expect(b'{')?;
        let content = self.bytes(length)?;
        self.strings.add(content, || Form::Counted(digits));
        if self.text.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(());
        }
        Err(self.broken(Malformed::PhpLength))
    }

    /// A class's name.
    fn name(&mut self) -> Result<(), Broken> {
        let (_, content) = self.counted()?;
        self.strings.add(content, || Form::Name);
        Ok(())
    }

    /// The number of parts of an array or object: keys and values.
    fn parts(&mut self) -> Result<usize, Broken> {
        let (_, count) = self.number()?;
        self.expect(b':')?;
        self.expect(b'{')?;
        // The shortest part is `i:0;N;`.
        if count > (self.text.len() - self.at) / 6 {
            return Err(self.broken(Malformed::PhpCutOff));
        }
        Ok(count * 2)
    }

    /// `3:"url"`: where the number is, and the string.
    fn counted(&mut self) -> Result<(Range<usize>, Range<usize>), Broken> {
        let (digits, length) = self.number()?;
        self.expect(b':')?;
        self.expect(b'"')?;
        let content = self.bytes(length)?;
        self.close_quote()?;
        Ok((digits, content))
    }

    fn close_quote(&mut self) -> Result<(), Broken> {
        match self.text.get(self.at) {
            Some(b'"') => self.at += 1,
            Some(_) => return Err(self.broken(Malformed::PhpLength)),
            None => return Err(self.broken(Malformed::PhpCutOff)),
        }
        Ok(())
    }

    fn bytes(&mut self, length: usize) -> Result<Range<usize>, Broken> {
        let start = self.at;
        if length > self.text.len() - start {
            return Err(self.broken(Malformed::PhpCutOff));
        }
        self.at += length;
        Ok(start..self.at)
    }

    fn number(&mut self) -> Result<(Range<usize>, usize), Broken> {
        let start = self.at;
        let mut number = 0_usize;
        while let Some(digit) = self.text.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            // What is longer than any text is as long as any other.
            number = number.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
            self.at += 1;
        }
        if start == self.at { Err(self.broken(Malformed::PhpSyntax)) } else { Ok((start..self.at, number)) }
    }

    fn next(&mut self) -> Result<u8, Broken> {
        let byte = self.text.get(self.at).copied().ok_or(self.broken(Malformed::PhpCutOff))?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Broken> {
        match self.text.get(self.at) {
            Some(byte) if *byte == wanted => self.at += 1,
            Some(_) => return Err(self.broken(Malformed::PhpSyntax)),
            None => return Err(self.broken(Malformed::PhpCutOff)),
        }
        Ok(())
    }

    fn broken(&self, reason: Malformed) -> Broken {
        Broken { at: self.at.min(self.text.len()), reason }
    }
}
