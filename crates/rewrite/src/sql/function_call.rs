//! Functions around a literal that stand for characters in it. SQLite has no escapes: its `.dump` writes
//! `replace('a\nb','\n',char(10))`, or `unistr('a\u000ab')` since 3.50.

use memchr::memmem;

use crate::codec::{Codec, Decoded, Written};
use crate::edits::Edits;

/// The most nested calls of `replace`.
const MAX_CALLS: usize = 4;
/// The longest name of a call before a literal, and the longest arguments after it.
pub(super) const MAX_BEFORE_BYTES: usize = 64;
const MAX_AFTER_BYTES: usize = 256;

/// What is known of the text around a literal.
pub(super) enum CallLookup {
    /// There is no such function.
    None,
    /// Its arguments are not complete without more input.
    Incomplete,
    Found(FunctionCall),
}

/// A function whose result is the value.
pub(super) enum FunctionCall {
    /// Each of these texts stands for a character.
    Replace(Vec<(Vec<u8>, u8)>),
    /// Backslashes escape.
    Unistr,
}

/// Looks for a function around a literal. `is_last`: no more input follows `after`.
pub(super) fn call_around(before: &[u8], after: &[u8], is_last: bool) -> CallLookup {
    if strip_name(before, b"unistr(").is_some() {
        return CallLookup::Found(FunctionCall::Unistr);
    }
    let (mut before, mut calls) = (before, 0);
    while let Some(rest) = strip_name(before, b"replace(").filter(|_| calls < MAX_CALLS) {
        (before, calls) = (rest, calls + 1);
    }
    if calls == 0 {
        return CallLookup::None;
    }
    let (mut rest, mut replaced) = (&after[..after.len().min(MAX_AFTER_BYTES)], Vec::new());
    for _ in 0..calls {
        match parse_arguments(&mut rest) {
            Some(pair) => replaced.push(pair),
            None if rest.is_empty() && !is_last && after.len() < MAX_AFTER_BYTES => {
                return CallLookup::Incomplete;
            }
            None => return CallLookup::None,
        }
    }
    CallLookup::Found(FunctionCall::Replace(replaced))
}

fn strip_name<'t>(before: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let (rest, last) = before.split_at_checked(before.len().checked_sub(name.len())?)?;
    last.eq_ignore_ascii_case(name).then_some(rest)
}

/// Parses `,'\n',char(10))`. On `None`, `rest` is empty if the text ended too early.
fn parse_arguments(rest: &mut &[u8]) -> Option<(Vec<u8>, u8)> {
    expect(rest, b",'")?;
    let Some(length) = memchr::memchr(b'\'', rest) else {
        *rest = &[];
        return None;
    };
    let (text, after) = rest.split_at(length);
    *rest = after;
    expect(rest, b"',char(")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    expect(rest, b")")?;
    expect(rest, b")")?;
    let byte = std::str::from_utf8(number).ok()?.parse().ok().filter(u8::is_ascii)?;
    (!text.is_empty()).then(|| (text.to_vec(), byte))
}

fn expect(rest: &mut &[u8], wanted: &[u8]) -> Option<()> {
    let same = rest.iter().zip(wanted).take_while(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted)).count();
    let is_complete = same == wanted.len();
    *rest = if is_complete || same == rest.len() { &rest[same..] } else { *rest };
    is_complete.then_some(())
}

impl FunctionCall {
    /// Whether a new text would be changed by the function.
    pub(super) fn changes(&self, new: &[u8]) -> bool {
        match self {
            Self::Replace(replaced) => replaced.iter().any(|(text, _)| memmem::find(new, text).is_some()),
            Self::Unistr => memchr::memchr(b'\\', new).is_some(),
        }
    }

    /// Decodes the function's result.
    pub(super) fn decode(&self, argument: &[u8], decoded: &mut Decoded) {
        let Self::Replace(replaced) = self else { return Codec::Backslash.decode(argument, decoded) };
        let find = |text: &[u8], from: usize| Some(from + memmem::find(&argument[from..], text)?);
        let mut next: Vec<_> = replaced.iter().map(|(text, _)| find(text, 0)).collect();
        let mut at = 0;
        loop {
            for (next, (text, _)) in next.iter_mut().zip(replaced) {
                if next.is_some_and(|next| next < at) {
                    *next = find(text, at);
                }
            }
            let nearest = (0..next.len()).filter_map(|index| Some((next[index]?, index))).min();
            let Some((start, index)) = nearest else { break };
            let (text, byte) = &replaced[index];
            decoded.push(&argument[at..start], &[*byte], start + text.len());
            at = start + text.len();
        }
        decoded.bytes.extend_from_slice(&argument[at..]);
    }

    /// Converts edits of the result into edits of the argument.
    pub(super) fn write_edits(&self, argument: &[u8], decoded: &Decoded, edits: &Edits, out: &mut Edits) {
        match self {
            Self::Replace(_) => decoded.write_plain_edits(edits, out),
            Self::Unistr => {
                let written = Written { text: argument, range: 0..argument.len(), base: 0 };
                Codec::Backslash.write_edits(written, decoded, edits, out);
            }
        }
    }
}
