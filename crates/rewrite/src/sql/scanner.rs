//! Splits a dump into tokens: literals, names, words, comments, ends of statements. An incomplete token is kept for
//! the next chunk.

use super::token::{FILTER_MASKS, Mode, SpannedToken, Token, TokenFilter, is_word_byte, mask};
use super::token_end::{TokenEnd, TokenKind, find_token_end};
use crate::report::Malformed;

/// Longest name, comment or word in bytes; longer ones are passed through.
const MAX_TOKEN_BYTES: usize = 64 << 10;
/// Most digits of a server version in a conditional comment.
const MAX_VERSION_DIGITS: usize = 6;
/// A version that no server reaches: the conditional comment is a plain comment or a client command.
const UNREACHED_VERSION: &[u8] = b"999999";
/// At the beginning of a file; in a dump that was put together from several, before any statement.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Longest delimiter; a longer one is ignored.
const MAX_DELIMITER_BYTES: usize = 255;

pub(super) struct Scanner {
    pub(super) mode: Mode,
    /// The last byte of the input before the current text.
    pub(super) last_byte: u8,
    /// Longer literals are passed through.
    max_value_bytes: usize,
    delimiter: Vec<u8>,
    /// How many bytes of the current incomplete token were scanned, to avoid scanning them again.
    scanned: usize,
    /// The kind of the oversized token that is being passed through.
    oversized: Option<TokenKind>,
    /// Whether a conditional comment is open.
    in_conditional_comment: bool,
    /// Whether the next token starts a statement.
    at_statement_start: bool,
    /// Whether the delimiter is `;`.
    has_default_delimiter: bool,
    /// Number of literals without a hit, which are counted and not returned.
    pub(super) skipped_literals: u64,
}

impl Scanner {
    pub(super) fn new(mode: Mode, max_value_bytes: usize) -> Self {
        Self {
            mode,
            last_byte: b'\n',
            max_value_bytes,
            delimiter: b";".to_vec(),
            scanned: 0,
            oversized: None,
            in_conditional_comment: false,
            at_statement_start: true,
            has_default_delimiter: true,
            skipped_literals: 0,
        }
    }

    /// Whether no token and no conditional comment is open.
    pub(super) fn is_complete(&self) -> bool {
        self.oversized.is_none() && !self.in_conditional_comment
    }

    /// Returns the next token and moves `at` to its end. On `None`, scanning has to continue at `at` with more input.
    /// `is_last`: no more input follows. With `TokenFilter::Literals`, literals that end at or before
    /// `next_hit_start` are only counted.
    pub(super) fn next(
        &mut self,
        text: &[u8],
        at: &mut usize,
        is_last: bool,
        filter: TokenFilter,
        next_hit_start: usize,
    ) -> Option<SpannedToken> {
        if let Some(kind) = self.oversized {
            return self.pass_through(kind, text, at, is_last);
        }
        let filter = if self.has_default_delimiter { filter } else { TokenFilter::All };
        let next_hit_start =
            if filter == TokenFilter::Literals && self.scanned == 0 { next_hit_start } else { 0 };
        let mask = mask(filter);
        let mut done = *at;
        loop {
            let rest = &text[*at..];
            let Some(skip) = rest.iter().position(|byte| FILTER_MASKS[usize::from(*byte)] & mask != 0) else {
                // A chunk may end between the two bytes of `0x`.
                let cut = filter != TokenFilter::All && !is_last && text.len() > done && text.ends_with(b"0");
                *at = text.len() - usize::from(cut);
                return None;
            };
            *at += skip;
            if next_hit_start > 0
                && let Some((content, end)) = self.literal(text, *at, is_last)
            {
                let start = std::mem::replace(at, end);
                if end > next_hit_start {
                    let token = Token::Text { quote: text[start], content: start + 1..content };
                    return Some(SpannedToken { token, start, end });
                }
                self.skipped_literals += 1;
                done = end;
                continue;
            }
            if filter != TokenFilter::All && matches!(text[*at], b'x' | b'X') {
                let zero = usize::from(*at > done && text[*at - 1] == b'0');
                let start = *at - zero;
                let next = text.get(*at + 1);
                if zero == 0 && next.is_none() && !is_last {
                    return None;
                }
                if is_word_byte(self.byte_before(text, start)) || (zero == 0 && next != Some(&b'\'')) {
                    *at += 1;
                    done = *at;
                    continue;
                }
                *at = start;
            }
            let spanned = self.token(text, *at, is_last)?;
            self.scanned = 0;
            *at = spanned.end;
            self.at_statement_start = match spanned.token {
                Token::StatementEnd => true,
                Token::PassedThrough | Token::Partial(_) => self.at_statement_start,
                _ => false,
            };
            return Some(spanned);
        }
    }

    /// The end of the content of the string literal at an offset, and of the literal. `None` if it is incomplete, too
    /// long or not a literal.
    fn literal(&self, text: &[u8], start: usize, is_last: bool) -> Option<(usize, usize)> {
        let (quote, escapes) = (text[start], self.mode.escapes);
        if quote != b'\'' && (quote != b'"' || self.mode.ansi) {
            return None;
        }
        match find_token_end(TokenKind::Quotes { quote, escapes }, text, start + 1, is_last) {
            TokenEnd::At(content, end) if content - start <= self.max_value_bytes => Some((content, end)),
            _ => None,
        }
    }

    fn byte_before(&self, text: &[u8], at: usize) -> u8 {
        at.checked_sub(1).map_or(self.last_byte, |at| text[at])
    }

    /// Scans the token at an offset.
    fn token(&mut self, text: &[u8], start: usize, is_last: bool) -> Option<SpannedToken> {
        let rest = &text[start..];
        let needs_more = |need: usize| !is_last && rest.len() < need;
        let spanned = |token: Token, len: usize| Some(SpannedToken { token, start, end: start + len });
        if rest.starts_with(&self.delimiter) {
            return spanned(Token::StatementEnd, self.delimiter.len());
        }
        if needs_more(self.delimiter.len()) && self.delimiter.starts_with(rest) {
            return None;
        }
        if self.at_statement_start && rest[0] == BYTE_ORDER_MARK[0] {
            if needs_more(BYTE_ORDER_MARK.len()) && BYTE_ORDER_MARK.starts_with(rest) {
                return None;
            }
            if rest.starts_with(BYTE_ORDER_MARK) {
                return spanned(Token::PassedThrough, BYTE_ORDER_MARK.len());
            }
        }
        match rest[0] {
            b'"' if self.mode.ansi => self.quoted(text, start, b'"', false, is_last),
            b'`' => self.quoted(text, start, b'`', false, is_last),
            quote @ (b'\'' | b'"') => self.quoted(text, start, quote, true, is_last),
            b'#' => self.skip_to_end(TokenKind::Line, text, start, start + 1, is_last),
            b'-' if needs_more(3) && b"--".starts_with(&rest[..rest.len().min(2)]) => None,
            b'-' if rest.starts_with(b"--") && rest.get(2).is_none_or(|byte| *byte <= b' ') => {
                self.skip_to_end(TokenKind::Line, text, start, start + 2, is_last)
            }
            b'/' if needs_more(4) && b"/*".starts_with(&rest[..rest.len().min(2)]) => None,
            b'/' if rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") => {
                let sign = if rest[2] == b'!' { 3 } else { 4 };
                // The version of the server that executes the comment.
                let digits = rest[sign..]
                    .iter()
                    .take(MAX_VERSION_DIGITS)
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                if needs_more(sign + digits + 1) {
                    return None;
                }
                if rest[sign..].starts_with(UNREACHED_VERSION) {
                    return self.skip_to_end(TokenKind::Comment, text, start, start + sign, is_last);
                }
                self.in_conditional_comment = true;
                spanned(Token::PassedThrough, sign + digits)
            }
            b'/' if rest.starts_with(b"/*") => {
                self.skip_to_end(TokenKind::Comment, text, start, start + 2, is_last)
            }
            b'*' if self.in_conditional_comment && needs_more(2) => None,
            b'*' if self.in_conditional_comment && rest.starts_with(b"*/") => {
                self.in_conditional_comment = false;
                spanned(Token::PassedThrough, 2)
            }
            byte if is_word_byte(byte) => self.word(text, start, is_last),
            byte => spanned(Token::Punctuation(byte), 1),
        }
    }

    /// A string literal or a quoted name.
    fn quoted(
        &mut self,
        text: &[u8],
        start: usize,
        quote: u8,
        literal: bool,
        is_last: bool,
    ) -> Option<SpannedToken> {
        let kind = TokenKind::Quotes { quote, escapes: literal && self.mode.escapes };
        let limit = if literal { self.max_value_bytes } else { MAX_TOKEN_BYTES };
        let (content, end) = match self.token_end(kind, text, start, start + 1, limit, is_last)? {
            Ok(end) => end,
            Err(part) => return Some(part),
        };
        let content = start + 1..content;
        let token = if literal { Token::Text { quote, content } } else { Token::Name(content) };
        Some(SpannedToken { token, start, end })
    }

    /// A comment or a client command, up to its end.
    fn skip_to_end(
        &mut self,
        kind: TokenKind,
        text: &[u8],
        start: usize,
        from: usize,
        is_last: bool,
    ) -> Option<SpannedToken> {
        let end = self.token_end(kind, text, start, from, MAX_TOKEN_BYTES, is_last)?;
        Some(
            end.map_or_else(|part| part, |(_, end)| SpannedToken { token: Token::PassedThrough, start, end }),
        )
    }

    /// A name, a keyword or a number; or a hexadecimal literal.
    fn word(&mut self, text: &[u8], start: usize, is_last: bool) -> Option<SpannedToken> {
        let rest = &text[start..];
        if matches!(rest, [b'x' | b'X', b'\'', ..]) {
            let kind = TokenKind::Quotes { quote: b'\'', escapes: false };
            return Some(
                match self.token_end(kind, text, start, start + 2, self.max_value_bytes, is_last)? {
                    Ok((content, end)) => SpannedToken { token: Token::Hex(start + 2..content), start, end },
                    Err(part) => part,
                },
            );
        }
        if matches!(rest, [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit()) {
            return Some(
                match self.token_end(
                    TokenKind::Digits,
                    text,
                    start,
                    start + 2,
                    self.max_value_bytes,
                    is_last,
                )? {
                    Ok((_, end)) if text.get(end).copied().is_some_and(is_word_byte) => {
                        SpannedToken { token: Token::Word, start, end }
                    }
                    Ok((content, end)) => SpannedToken { token: Token::Hex(start + 2..content), start, end },
                    Err(part) => part,
                },
            );
        }
        let near = &rest[..rest.len().min(MAX_TOKEN_BYTES)];
        let mut length = near.iter().take_while(|byte| is_word_byte(**byte)).count();
        if length == rest.len() && length < MAX_TOKEN_BYTES && !is_last {
            return None;
        }
        if !self.has_default_delimiter {
            // The delimiter may start inside the word and end after it.
            if !is_last && rest.len() < length + self.delimiter.len() - 1 {
                return None;
            }
            let more = &rest[..rest.len().min(length + self.delimiter.len() - 1)];
            length = memchr::memmem::find(more, &self.delimiter).map_or(length, |at| at.min(length));
        }
        if rest[..length].eq_ignore_ascii_case(b"delimiter") && self.is_command(text, start, length) {
            return self.command(text, start, length, is_last);
        }
        Some(SpannedToken { token: Token::Word, start, end: start + length })
    }

    /// Whether a word is the client command `DELIMITER`: it starts a statement or, with another delimiter than `;`, a
    /// line.
    fn is_command(&self, text: &[u8], start: usize, length: usize) -> bool {
        let before = self.byte_before(text, start);
        matches!(text.get(start + length), None | Some(b' ' | b'\t' | b'\r' | b'\n'))
            && (self.at_statement_start || (before == b'\n' && !self.has_default_delimiter))
    }

    /// `DELIMITER ;;`, up to the end of its line.
    fn command(&mut self, text: &[u8], start: usize, length: usize, is_last: bool) -> Option<SpannedToken> {
        let spanned = self.skip_to_end(TokenKind::Line, text, start, start + length, is_last)?;
        let line = text[start + length..spanned.end].trim_ascii();
        let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let bare = word.strip_prefix(b"'").and_then(|word| word.strip_suffix(b"'")).unwrap_or(word);
        if (1..=MAX_DELIMITER_BYTES).contains(&bare.len()) {
            self.delimiter = bare.to_vec();
            self.has_default_delimiter = bare == b";";
            self.at_statement_start = true;
        }
        Some(spanned)
    }

    // --- ends -------------------------------------------------------------------------------------------------------

    /// Finds the end of a token that starts at `start` and continues at `from`: the end of its content, and of the
    /// token. Returns a partial token if it is too long or truncated.
    fn token_end(
        &mut self,
        kind: TokenKind,
        text: &[u8],
        start: usize,
        from: usize,
        limit: usize,
        is_last: bool,
    ) -> Option<Result<(usize, usize), SpannedToken>> {
        let partial = |reason: Option<Malformed>, end: usize| {
            Some(Err(SpannedToken { token: Token::Partial(reason), start, end }))
        };
        let is_value = matches!(kind, TokenKind::Quotes { .. } | TokenKind::Digits);
        let too_long = is_value.then_some(Malformed::SqlValueTooLong);
        match find_token_end(kind, text, from.max(start + self.scanned), is_last) {
            TokenEnd::At(content, _) if content - from > limit => {
                // Same result as if the token came in several chunks.
                self.oversized = Some(kind);
                partial(too_long, from)
            }
            TokenEnd::At(content, end) => Some(Ok((content, end))),
            TokenEnd::Open(scanned) if scanned - from > limit => {
                self.oversized = Some(kind);
                partial(too_long, from)
            }
            TokenEnd::Open(_) if is_last => partial(Some(Malformed::SqlTruncated), text.len()),
            TokenEnd::Open(scanned) => {
                self.scanned = scanned - start;
                None
            }
        }
    }

    /// Returns a part of an oversized token.
    fn pass_through(
        &mut self,
        kind: TokenKind,
        text: &[u8],
        at: &mut usize,
        is_last: bool,
    ) -> Option<SpannedToken> {
        let start = *at;
        let end = match find_token_end(kind, text, start, is_last) {
            TokenEnd::At(_, end) => {
                self.oversized = None;
                end
            }
            TokenEnd::Open(_) if is_last => text.len(),
            TokenEnd::Open(scanned) => scanned,
        };
        *at = end;
        (end > start).then_some(SpannedToken { token: Token::Partial(None), start, end })
    }
}
