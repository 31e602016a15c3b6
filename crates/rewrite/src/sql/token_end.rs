//! Finds the ends of literals, names and comments.

/// The kinds of tokens with an end to search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Quotes { quote: u8, escapes: bool },
    Digits,
    Line,
    Comment,
}

/// The end of a token.
pub(super) enum TokenEnd {
    /// The end of its content, and of the token including its closing characters.
    At(usize, usize),
    /// Not found; the text was scanned up to this offset.
    Open(usize),
}

/// Finds the end of a token that continues at an offset. `is_last`: no more input follows.
pub(super) fn find_token_end(kind: TokenKind, text: &[u8], from: usize, is_last: bool) -> TokenEnd {
    let rest = &text[from..];
    match kind {
        TokenKind::Quotes { quote, escapes } => find_closing_quote(text, from, quote, escapes, is_last),
        TokenKind::Digits => match rest.iter().position(|byte| !byte.is_ascii_hexdigit()) {
            Some(length) => TokenEnd::At(from + length, from + length),
            None if is_last => TokenEnd::At(text.len(), text.len()),
            None => TokenEnd::Open(text.len()),
        },
        TokenKind::Line => match memchr::memchr(b'\n', rest) {
            Some(length) => TokenEnd::At(from + length, from + length),
            None if is_last => TokenEnd::At(text.len(), text.len()),
            None => TokenEnd::Open(text.len()),
        },
        TokenKind::Comment => match memchr::memmem::find(rest, b"*/") {
            Some(length) => TokenEnd::At(from + length, from + length + 2),
            None => TokenEnd::Open(text.len() - usize::from(rest.ends_with(b"*") && !is_last)),
        },
    }
}

/// Finds the quote that closes a literal or name.
fn find_closing_quote(text: &[u8], from: usize, quote: u8, escapes: bool, is_last: bool) -> TokenEnd {
    let escape = if escapes { b'\\' } else { quote };
    let mut at = from;
    while let Some(next) = find_either(quote, escape, text.get(at..).unwrap_or_default()) {
        let here = at + next;
        match text.get(here + 1) {
            None if !is_last => return TokenEnd::Open(here),
            Some(next) if text[here] != quote || *next == quote => at = here + 2,
            None if text[here] != quote => return TokenEnd::Open(here),
            _ => return TokenEnd::At(here, here + 1),
        }
    }
    TokenEnd::Open(text.len())
}

/// Finds the first of two bytes. Most literals are short, so the first bytes are searched in words of eight, without
/// the set-up cost of a search for long texts.
fn find_either(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    const SHORT_TEXT_BYTES: usize = 32;
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([128; 8]);
    let (near, _) = text[..text.len().min(SHORT_TEXT_BYTES)].as_chunks::<8>();
    let (ones, others) = (ONES * u64::from(one), ONES * u64::from(other));
    for (at, chunk) in near.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
        let found = zeros(word ^ ones) | zeros(word ^ others);
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let passed = near.len() * 8;
    Some(passed + memchr::memchr2(one, other, &text[passed..])?)
}
