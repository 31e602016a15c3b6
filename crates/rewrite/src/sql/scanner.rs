//! Takes a dump apart: literals, names, words, comments, statements' ends. Whatever is unfinished waits for more.

use std::ops::Range;

use super::token_end::{End, Inside, end};
use crate::report::Malformed;

/// A piece of a dump, as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A literal, and what is between its quotes.
    Text { quote: u8, content: Range<usize> },
    /// A literal in hexadecimal digits, these.
    Hex(Range<usize>),
    /// A name in quotes, and what is between them.
    Name(Range<usize>),
    /// A name without quotes, a keyword, a number.
    Word,
    /// A comment, the beginning or end of one that holds code, a command to the client.
    Passes,
    /// Part of something too long to be looked at, or of what ends too early.
    Part(Option<Malformed>),
    /// The end of a statement.
    End,
    /// Anything else.
    Sign(u8),
}

/// A token and where it is.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What the reader wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seek {
    /// Everything.
    All,
    /// Literals, names, statements' ends.
    Literals,
    /// These, and what tells columns apart.
    Columns,
}

/// How literals and names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    /// Whether a backslash escapes.
    pub(super) escapes: bool,
    /// Whether double quotes are around names.
    pub(super) ansi: bool,
}

/// No name, comment or word is longer, or it is not looked at.
const LONG: usize = 64 << 10;
/// No version of a server has more digits.
const VERSION: usize = 6;
/// No server is of this version: what comes is a comment all the same, or a command to the client.
const NEVER: &[u8] = b"999999";
/// No delimiter is longer, or it stays what it was.
const LONGEST_DELIMITER: usize = 255;

pub(super) struct Scanner {
    pub(super) mode: Mode,
    /// The last byte that was done with.
    pub(super) before: u8,
    /// Literals that are longer pass.
    longest: usize,
    delimiter: Vec<u8>,
    /// How far the token at hand was looked at already, from its beginning.
    seen: usize,
    /// What is too long and passes.
    inside: Option<Inside>,
    /// Whether a comment that holds code is open.
    code: bool,
    /// Whether a statement has not begun.
    fresh: bool,
    /// Whether statements end as usual.
    usual: bool,
    /// Literals that were only counted.
    pub(super) skipped: u64,
}

impl Scanner {
    pub(super) fn new(mode: Mode, longest: usize) -> Self {
        Self {
            mode,
            before: b'\n',
            longest,
            delimiter: b";".to_vec(),
            seen: 0,
            inside: None,
            code: false,
            fresh: true,
            usual: true,
            skipped: 0,
        }
    }

    /// Whether all that was begun has ended.
    pub(super) fn is_idle(&self) -> bool {
        self.inside.is_none() && !self.code
    }

    /// The next token, and `at` behind it. Without one, `at` is where it has to be gone on with more text. `last`: there
    /// is no more. Where literals are looked for, those that end before `quiet` are only counted.
    pub(super) fn next(
        &mut self,
        text: &[u8],
        at: &mut usize,
        last: bool,
        seek: Seek,
        quiet: usize,
    ) -> Option<Piece> {
        if let Some(inside) = self.inside {
            return self.pass(inside, text, at, last);
        }
        let seek = if self.usual { seek } else { Seek::All };
        let quiet = if seek == Seek::Literals && self.seen == 0 { quiet } else { 0 };
        let mask = mask(seek);
        let mut done = *at;
        loop {
            let rest = &text[*at..];
            let Some(skip) = rest.iter().position(|byte| CLASSES[usize::from(*byte)] & mask != 0) else {
                // `0x` may be cut between the two.
                let cut = seek != Seek::All && !last && text.len() > done && text.ends_with(b"0");
                *at = text.len() - usize::from(cut);
                return None;
            };
            *at += skip;
            if quiet > 0
                && let Some((content, end)) = self.literal(text, *at, last)
            {
                let start = std::mem::replace(at, end);
                if end > quiet {
                    let token = Token::Text { quote: text[start], content: start + 1..content };
                    return Some(Piece { token, start, end });
                }
                self.skipped += 1;
                done = end;
                continue;
            }
            if seek != Seek::All && matches!(text[*at], b'x' | b'X') {
                let zero = usize::from(*at > done && text[*at - 1] == b'0');
                let start = *at - zero;
                let next = text.get(*at + 1);
                if zero == 0 && next.is_none() && !last {
                    return None;
                }
                if is_word(self.before(text, start)) || (zero == 0 && next != Some(&b'\'')) {
                    *at += 1;
                    done = *at;
                    continue;
                }
                *at = start;
            }
            let piece = self.token(text, *at, last)?;
            self.seen = 0;
            *at = piece.end;
            self.fresh = match piece.token {
                Token::End => true,
                Token::Passes | Token::Part(_) => self.fresh,
                _ => false,
            };
            return Some(piece);
        }
    }

    /// Where the content of a literal ends that begins here, and itself. What needs more care is none.
    fn literal(&self, text: &[u8], start: usize, last: bool) -> Option<(usize, usize)> {
        let (quote, escapes) = (text[start], self.mode.escapes);
        if quote != b'\'' && (quote != b'"' || self.mode.ansi) {
            return None;
        }
        match end(Inside::Quotes { quote, escapes }, text, start + 1, last) {
            End::At(content, end) if content - start <= self.longest => Some((content, end)),
            _ => None,
        }
    }

    fn before(&self, text: &[u8], at: usize) -> u8 {
        at.checked_sub(1).map_or(self.before, |at| text[at])
    }

    /// The token that begins at an offset.
    fn token(&mut self, text: &[u8], start: usize, last: bool) -> Option<Piece> {
        let rest = &text[start..];
        let wait = |need: usize| !last && rest.len() < need;
        let piece = |token: Token, len: usize| Some(Piece { token, start, end: start + len });
        if rest.starts_with(&self.delimiter) {
            return piece(Token::End, self.delimiter.len());
        }
        if wait(self.delimiter.len()) && self.delimiter.starts_with(rest) {
            return None;
        }
        match rest[0] {
            b'"' if self.mode.ansi => self.quoted(text, start, b'"', false, last),
            b'`' => self.quoted(text, start, b'`', false, last),
            quote @ (b'\'' | b'"') => self.quoted(text, start, quote, true, last),
            b'#' => self.until(Inside::Line, text, start, start + 1, last),
            b'-' if wait(3) && b"--".starts_with(&rest[..rest.len().min(2)]) => None,
            b'-' if rest.starts_with(b"--") && rest.get(2).is_none_or(|byte| *byte <= b' ') => {
                self.until(Inside::Line, text, start, start + 2, last)
            }
            b'/' if wait(4) && b"/*".starts_with(&rest[..rest.len().min(2)]) => None,
            b'/' if rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") => {
                let sign = if rest[2] == b'!' { 3 } else { 4 };
                // A server's version is the first to read it.
                let digits =
                    rest[sign..].iter().take(VERSION).take_while(|byte| byte.is_ascii_digit()).count();
                if wait(sign + digits + 1) {
                    return None;
                }
                if rest[sign..].starts_with(NEVER) {
                    return self.until(Inside::Comment, text, start, start + sign, last);
                }
                self.code = true;
                piece(Token::Passes, sign + digits)
            }
            b'/' if rest.starts_with(b"/*") => self.until(Inside::Comment, text, start, start + 2, last),
            b'*' if self.code && wait(2) => None,
            b'*' if self.code && rest.starts_with(b"*/") => {
                self.code = false;
                piece(Token::Passes, 2)
            }
            byte if is_word(byte) => self.word(text, start, last),
            byte => piece(Token::Sign(byte), 1),
        }
    }

    /// A literal or a name.
    fn quoted(&mut self, text: &[u8], start: usize, quote: u8, literal: bool, last: bool) -> Option<Piece> {
        let inside = Inside::Quotes { quote, escapes: literal && self.mode.escapes };
        let limit = if literal { self.longest } else { LONG };
        let (content, end) = match self.end(inside, text, start, start + 1, limit, last)? {
            Ok(end) => end,
            Err(part) => return Some(part),
        };
        let content = start + 1..content;
        let token = if literal { Token::Text { quote, content } } else { Token::Name(content) };
        Some(Piece { token, start, end })
    }

    /// What is not looked at, up to its end.
    fn until(&mut self, inside: Inside, text: &[u8], start: usize, from: usize, last: bool) -> Option<Piece> {
        let end = self.end(inside, text, start, from, LONG, last)?;
        Some(end.map_or_else(|part| part, |(_, end)| Piece { token: Token::Passes, start, end }))
    }

    /// A name, keyword or number; or a literal in hexadecimal digits.
    fn word(&mut self, text: &[u8], start: usize, last: bool) -> Option<Piece> {
        let rest = &text[start..];
        if matches!(rest, [b'x' | b'X', b'\'', ..]) {
            let inside = Inside::Quotes { quote: b'\'', escapes: false };
            return Some(match self.end(inside, text, start, start + 2, self.longest, last)? {
                Ok((content, end)) => Piece { token: Token::Hex(start + 2..content), start, end },
                Err(part) => part,
            });
        }
        if matches!(rest, [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit()) {
            return Some(match self.end(Inside::Digits, text, start, start + 2, self.longest, last)? {
                Ok((_, end)) if text.get(end).copied().is_some_and(is_word) => {
                    Piece { token: Token::Word, start, end }
                }
                Ok((content, end)) => Piece { token: Token::Hex(start + 2..content), start, end },
                Err(part) => part,
            });
        }
        let near = &rest[..rest.len().min(LONG)];
        let mut length = near.iter().take_while(|byte| is_word(**byte)).count();
        if length == rest.len() && length < LONG && !last {
            return None;
        }
        if !self.usual {
            // The delimiter may begin inside of the word and end behind it.
            if !last && rest.len() < length + self.delimiter.len() - 1 {
                return None;
            }
            let more = &rest[..rest.len().min(length + self.delimiter.len() - 1)];
            length = memchr::memmem::find(more, &self.delimiter).map_or(length, |at| at.min(length));
        }
        if rest[..length].eq_ignore_ascii_case(b"delimiter") && self.is_command(text, start, length) {
            return self.command(text, start, length, last);
        }
        Some(Piece { token: Token::Word, start, end: start + length })
    }

    /// Whether a word is the client's command `DELIMITER`: it begins a statement or, where statements end in another way
    /// than usual, a line.
    fn is_command(&self, text: &[u8], start: usize, length: usize) -> bool {
        let before = self.before(text, start);
        matches!(text.get(start + length), None | Some(b' ' | b'\t' | b'\r' | b'\n'))
            && (self.fresh || (before == b'\n' && !self.usual))
    }

    /// `DELIMITER ;;`, up to the end of its line.
    fn command(&mut self, text: &[u8], start: usize, length: usize, last: bool) -> Option<Piece> {
        let piece = self.until(Inside::Line, text, start, start + length, last)?;
        let line = text[start + length..piece.end].trim_ascii();
        let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let bare = word.strip_prefix(b"'").and_then(|word| word.strip_suffix(b"'")).unwrap_or(word);
        if (1..=LONGEST_DELIMITER).contains(&bare.len()) {
            self.delimiter = bare.to_vec();
            self.usual = bare == b";";
            self.fresh = true;
        }
        Some(piece)
    }

    // --- ends --------------------------------------------------------------------------------------------------------

    /// The end of what begins at `start` and goes on at `from`: where its content ends, and itself; or, where it is too
    /// long or there is no end, the part of it that passes.
    fn end(
        &mut self,
        inside: Inside,
        text: &[u8],
        start: usize,
        from: usize,
        limit: usize,
        last: bool,
    ) -> Option<Result<(usize, usize), Piece>> {
        let part = |reason: Option<Malformed>, end: usize| {
            Some(Err(Piece { token: Token::Part(reason), start, end }))
        };
        let is_value = matches!(inside, Inside::Quotes { .. } | Inside::Digits);
        let too_long = is_value.then_some(Malformed::SqlValueTooLong);
        match end(inside, text, from.max(start + self.seen), last) {
            End::At(content, _) if content - from > limit => {
                // As it passes when it comes in pieces.
                self.inside = Some(inside);
                part(too_long, from)
            }
            End::At(content, end) => Some(Ok((content, end))),
            End::Open(seen) if seen - from > limit => {
                self.inside = Some(inside);
                part(too_long, from)
            }
            End::Open(_) if last => part(Some(Malformed::SqlTruncated), text.len()),
            End::Open(seen) => {
                self.seen = seen - start;
                None
            }
        }
    }

    /// Passes on a part of what is too long.
    fn pass(&mut self, inside: Inside, text: &[u8], at: &mut usize, last: bool) -> Option<Piece> {
        let start = *at;
        let end = match end(inside, text, start, last) {
            End::At(_, end) => {
                self.inside = None;
                end
            }
            End::Open(_) if last => text.len(),
            End::Open(seen) => seen,
        };
        *at = end;
        (end > start).then_some(Piece { token: Token::Part(None), start, end })
    }
}

// --- kinds of bytes ------------------------------------------------------------------------------------------------

/// Whether a byte may be in a name without quotes.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

fn mask(seek: Seek) -> u8 {
    match seek {
        Seek::All => 1,
        Seek::Literals => 2,
        Seek::Columns => 2 | 4,
    }
}

/// In whose masks each byte is.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b' ' | b'\n' | b'\r' | b'\t' => 0,
            b'\'' | b'"' | b'`' | b'#' | b'-' | b'/' | b'*' | b';' | b'x' | b'X' => 1 | 2,
            b',' | b'(' | b')' => 1 | 4,
            _ => 1,
        };
        byte += 1;
    }
    classes
};
