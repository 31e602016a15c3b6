//! Spelling new text the way the old one was.

use super::{Codec, is_unreserved};

/// How a character is written where it was found.
#[derive(Clone)]
enum Spelling<'t> {
    AsItIs,
    As(&'t [u8]),
    /// Nothing near tells.
    Usual(Vec<u8>),
}

/// How far into the surroundings of an old text its spelling is looked for.
const NEAR: usize = 4096;

/// Spells new text the way an old one is spelled.
pub(super) struct Speller<'t> {
    codec: Codec,
    /// What is around all old texts, from near to far.
    around: [&'t [u8]; 2],
    /// What was looked for there.
    known: Vec<(u8, Option<Spelling<'t>>)>,
    /// How the characters of the text at hand are written: the old one may be long, and is looked through once for each.
    forms: Vec<(u8, Spelling<'t>)>,
}

impl<'t> Speller<'t> {
    pub(super) fn new(codec: Codec, around: [&'t [u8]; 2]) -> Self {
        Self {
            codec,
            around: around.map(|text| &text[..text.len().min(NEAR)]),
            known: Vec::new(),
            forms: Vec::new(),
        }
    }

    /// Appends a text: each of its characters as the old text writes it, else as its surroundings do, else as is usual.
    pub(super) fn spell(&mut self, new: &[u8], old: &'t [u8], to: &mut Vec<u8>) {
        self.forms.clear();
        let mut rest = new;
        while let Some((byte, after)) = rest.split_first() {
            // Block comments spell `--`, and no other hyphen.
            let double = rest.starts_with(b"--");
            let is_plain =
                |(at, byte): &(usize, &u8)| is_unreserved(**byte) && !rest[*at..].starts_with(b"--");
            let plain = rest.iter().enumerate().take_while(is_plain).count();
            if plain > 0 {
                to.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
                continue;
            }
            if !byte.is_ascii() {
                let letters = rest.iter().take_while(|byte| !byte.is_ascii()).count();
                self.letters(&rest[..letters], old, to);
                rest = &rest[letters..];
                continue;
            }
            let form = self.form(*byte, old);
            for _ in 0..=usize::from(double) {
                match form {
                    Spelling::AsItIs => to.push(*byte),
                    Spelling::As(text) => to.extend_from_slice(text),
                    Spelling::Usual(text) => to.extend_from_slice(text),
                }
            }
            rest = if double { &rest[2..] } else { after };
        }
    }

    fn form(&mut self, byte: u8, old: &'t [u8]) -> &Spelling<'t> {
        let at = self.forms.iter().position(|(known, _)| *known == byte).unwrap_or_else(|| {
            let near = spelling(self.codec, byte, old).or_else(|| self.around(byte, old));
            self.forms.push((byte, near.unwrap_or_else(|| Spelling::Usual(self.unseen(byte, old)))));
            self.forms.len() - 1
        });
        &self.forms[at].1
    }

    fn around(&mut self, byte: u8, old: &[u8]) -> Option<Spelling<'t>> {
        if self.codec == Codec::Percent && has_encoded(old) {
            return None;
        }
        if let Some((_, spelling)) = self.known.iter().find(|(known, _)| *known == byte) {
            return spelling.clone();
        }
        let found = self.around.iter().find_map(|text| spelling(self.codec, byte, text));
        self.known.push((byte, found.clone()));
        found
    }

    /// A character that is nowhere near.
    fn unseen(&self, byte: u8, old: &[u8]) -> Vec<u8> {
        let mut to = Vec::new();
        match self.codec {
            Codec::Backslash => match byte {
                b'"' | b'\\' => to.extend([b'\\', byte]),
                0..=31 => to.extend(format!("\\u{byte:04x}").bytes()),
                _ => to.push(byte),
            },
            Codec::Percent if is_unreserved(byte) => to.push(byte),
            Codec::Percent => {
                // A port, where only the host was encoded: `//m%C3%BCnchen.example`.
                let authority =
                    byte == b':' && matches!(spelling(self.codec, b'/', old), Some(Spelling::AsItIs));
                if authority { to.push(byte) } else { self.percent(byte, old, &mut to) }
            }
            Codec::Html => match byte {
                b'&' => to.extend(b"&amp;"),
                b'"' => to.extend(b"&quot;"),
                b'\'' => to.extend(b"&#039;"),
                b'<' => to.extend(b"&lt;"),
                b'>' => to.extend(b"&gt;"),
                _ => to.push(byte),
            },
            Codec::Sql { quote, escapes } => match byte {
                b'\\' if escapes => to.extend(b"\\\\"),
                byte if byte == quote => to.extend([if escapes { b'\\' } else { quote }, quote]),
                _ => to.push(byte),
            },
        }
        to
    }

    /// Writes letters outside of ASCII.
    fn letters(&self, letters: &[u8], old: &[u8], to: &mut Vec<u8>) {
        let has = |sign: &[u8]| memchr::memmem::find(old, sign).is_some();
        match (self.codec, std::str::from_utf8(letters)) {
            (Codec::Percent, _) => letters.iter().for_each(|byte| self.percent(*byte, old, to)),
            (Codec::Backslash, Ok(letters)) if has(b"\\u") => {
                letters.encode_utf16().for_each(|unit| to.extend(format!("\\u{unit:04x}").bytes()));
            }
            (Codec::Html, Ok(letters)) if has(b"&#") => {
                letters.chars().for_each(|letter| to.extend(format!("&#{};", u32::from(letter)).bytes()));
            }
            _ => to.extend_from_slice(letters),
        }
    }

    /// Percent-encodes a byte with the case of digits that is seen near it.
    fn percent(&self, byte: u8, old: &[u8], to: &mut Vec<u8>) {
        let small =
            is_small(old).or_else(|| self.around.iter().find_map(|text| is_small(text))).unwrap_or(false);
        let code = if small { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
        to.extend(code.bytes());
    }
}

/// How a character is written where a text first has it.
fn spelling(codec: Codec, byte: u8, text: &[u8]) -> Option<Spelling<'_>> {
    let mut at = 0;
    while let Some(next) = memchr::memchr3(codec.lead(), codec.other_lead(), byte, &text[at..]) {
        at += next;
        match codec.unit(&text[at..]) {
            Some(unit) if unit.bytes() == [byte] => return Some(Spelling::As(&text[at..at + unit.len])),
            Some(unit) => at += unit.len,
            None if text[at] == byte => return Some(Spelling::AsItIs),
            None => at += 1,
        }
    }
    None
}

/// Whether something in a text is percent-encoded that could stand as it is elsewhere: `%2F`.
fn has_encoded(text: &[u8]) -> bool {
    let mut units = memchr::memchr_iter(b'%', text).filter_map(|at| Codec::Percent.unit(&text[at..]));
    units.any(|unit| unit.bytes().is_ascii())
}

/// Whether a text's first percent-encoded byte that tells has small digits.
fn is_small(text: &[u8]) -> Option<bool> {
    let codes = memchr::memchr_iter(b'%', text).filter_map(|at| text.get(at + 1..at + 3));
    let mut digits = codes.filter(|code| code.iter().all(u8::is_ascii_hexdigit)).flatten();
    digits.find(|digit| digit.is_ascii_alphabetic()).map(u8::is_ascii_lowercase)
}
