//! Where literals, names and comments end.

/// Something that has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Quotes { quote: u8, escapes: bool },
    Digits,
    Line,
    Comment,
}

/// Where something ends.
pub(super) enum End {
    /// Its content, and itself with what closes it.
    At(usize, usize),
    /// Not here; up to there it was looked at.
    Open(usize),
}

/// Where something ends that goes on at an offset. `last`: there is no more.
pub(super) fn end(inside: Inside, text: &[u8], from: usize, last: bool) -> End {
    let rest = &text[from..];
    match inside {
        Inside::Quotes { quote, escapes } => close(text, from, quote, escapes, last),
        Inside::Digits => match rest.iter().position(|byte| !byte.is_ascii_hexdigit()) {
            Some(length) => End::At(from + length, from + length),
            None if last => End::At(text.len(), text.len()),
            None => End::Open(text.len()),
        },
        Inside::Line => match memchr::memchr(b'\n', rest) {
            Some(length) => End::At(from + length, from + length),
            None if last => End::At(text.len(), text.len()),
            None => End::Open(text.len()),
        },
        Inside::Comment => match memchr::memmem::find(rest, b"*/") {
            Some(length) => End::At(from + length, from + length + 2),
            None => End::Open(text.len() - usize::from(rest.ends_with(b"*") && !last)),
        },
    }
}

/// Where a quote closes that is open at an offset.
fn close(text: &[u8], from: usize, quote: u8, escapes: bool, last: bool) -> End {
    let escape = if escapes { b'\\' } else { quote };
    let mut at = from;
    while let Some(next) = either(quote, escape, text.get(at..).unwrap_or_default()) {
        let here = at + next;
        match text.get(here + 1) {
            None if !last => return End::Open(here),
            Some(next) if text[here] != quote || *next == quote => at = here + 2,
            None if text[here] != quote => return End::Open(here),
            _ => return End::At(here, here + 1),
        }
    }
    End::Open(text.len())
}

/// The first of two bytes. Most literals are short, so that the first bytes are looked at eight by eight, without the
/// preparations of a search made for long texts.
fn either(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    const NEAR: usize = 32;
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([128; 8]);
    let (near, _) = text[..text.len().min(NEAR)].as_chunks::<8>();
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
