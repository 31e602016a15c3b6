//! Tokens of a dump, and the bytes with which they begin.

use std::ops::Range;

use crate::report::Malformed;

/// A token of a dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A string literal and the range between its quotes.
    Text { quote: u8, content: Range<usize> },
    /// A hexadecimal literal and the range of its digits.
    Hex(Range<usize>),
    /// A quoted name and the range between its quotes.
    Name(Range<usize>),
    /// An unquoted name, a keyword or a number.
    Word,
    /// A comment, the start or end of a conditional comment (`/*! … */`), or a client command.
    PassedThrough,
    /// Part of a token that is too long or truncated, with the reason if it is to be counted.
    Partial(Option<Malformed>),
    /// The end of a statement.
    StatementEnd,
    /// Any other byte.
    Punctuation(u8),
}

/// A token and its range.
#[derive(Debug)]
pub(super) struct SpannedToken {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The kinds of tokens that the statement reader needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenFilter {
    /// All tokens.
    All,
    /// Literals, names and ends of statements.
    Literals,
    /// `Literals`, and the punctuation that separates columns.
    Columns,
}

/// How literals and names are quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    /// Whether a backslash escapes.
    pub(super) escapes: bool,
    /// Whether double quotes delimit names (`ANSI_QUOTES`).
    pub(super) ansi: bool,
}

/// Whether a byte may be part of an unquoted name.
pub(super) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

pub(super) fn mask(filter: TokenFilter) -> u8 {
    match filter {
        TokenFilter::All => 1,
        TokenFilter::Literals => 2,
        TokenFilter::Columns => 2 | 4,
    }
}

/// Bit masks of the token filters for which a byte may start a token.
pub(super) const FILTER_MASKS: [u8; 256] = {
    let mut masks = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        masks[byte] = match byte as u8 {
            b' ' | b'\n' | b'\r' | b'\t' => 0,
            b'\'' | b'"' | b'`' | b'#' | b'-' | b'/' | b'*' | b';' | b'x' | b'X' => 1 | 2,
            b',' | b'(' | b')' => 1 | 4,
            _ => 1,
        };
        byte += 1;
    }
    masks
};
