//! Hosts that are written as a pattern, as in redirect rules: `example\.com`, `(www\.)?example[.]com`. They are found
//! and counted, but not replaced: what a pattern matches is decided by all of it.

use crate::address::{MAX_HOST_BYTES, is_ascii_host_byte};
use crate::hit::Hit;
use crate::sites::{MappingTable, eq_ignore_case};

/// The most backslashes before a dot: a pattern in JSON in JSON has seven.
const MAX_BACKSLASHES: usize = 15;

/// What to search for to find a host as a pattern: the end of its first dot and the letter after it. Nothing for hosts
/// without a dot.
pub(crate) fn needles(name: &str) -> Vec<Vec<u8>> {
    let Some(letter) = name.split_once('.').and_then(|(_, rest)| rest.bytes().next()) else {
        return Vec::new();
    };
    let mut letters = vec![letter, letter.to_ascii_uppercase()];
    letters.dedup();
    letters.iter().flat_map(|letter| [vec![b'\\', b'.', *letter], vec![b'.', b']', *letter]]).collect()
}

/// The range of a host of this name, in lower case, one of whose [`needles`] was found at an offset.
pub(crate) fn range_around(text: &[u8], needle: usize, name: &[u8]) -> Option<(usize, usize)> {
    let first_dot = memchr::memchr(b'.', name)?;
    let (label, rest) = name.split_at(first_dot);
    let end_of_label = match text[needle] {
        b'\\' => needle + 1 - count_backslashes(text[..=needle].iter().rev()),
        _ => needle.checked_sub(1).filter(|at| text[*at] == b'[')?,
    };
    let start = end_of_label.checked_sub(label.len())?;
    eq_ignore_case(&text[start..end_of_label], label).then_some(())?;
    let mut at = end_of_label;
    for byte in rest {
        at = match byte {
            b'.' => dot_end(text, at)?,
            byte => text.get(at).filter(|found| found.eq_ignore_ascii_case(byte)).map(|_| at + 1)?,
        };
    }
    Some((start, at))
}

/// Whether the whole host around a hit is an old one: `www\.example\.com`, but not `shop\.example\.com`.
pub(crate) fn is_old_host(mappings: &MappingTable, text: &[u8], hit: Hit) -> bool {
    let (mut start, mut name) = (hit.at, Vec::new());
    while let Some(before) = step_back(text, start).filter(|before| hit.at - before <= MAX_HOST_BYTES) {
        start = before;
    }
    let mut at = start;
    while at < text.len() && name.len() <= MAX_HOST_BYTES {
        if let Some(end) = dot_end(text, at) {
            name.push(b'.');
            at = end;
        } else if is_ascii_host_byte(text[at]) {
            name.push(text[at]);
            at += 1;
        } else {
            break;
        }
    }
    // Of `[a-z]+\.example\.com`, and at the end of a sentence.
    let name = without_outer_dots(&name);
    let is_old = |name: &[u8]| mappings.find(name).is_some();
    // In `\bexample\.com` the first letter belongs to the backslash.
    let after_backslash = start > 0 && text[start - 1] == b'\\';
    is_old(name) || (after_backslash && name.get(1..).is_some_and(is_old))
}

/// The offset of the character before an offset, if it belongs to a host.
fn step_back(text: &[u8], at: usize) -> Option<usize> {
    let before = &text[..at];
    match before.last()? {
        b']' if before.ends_with(b"[.]") => Some(at - 3),
        b'.' => Some(at - 1 - count_backslashes(before[..at - 1].iter().rev())),
        byte => is_ascii_host_byte(*byte).then_some(at - 1),
    }
}

/// The end of a dot at an offset: `.`, `\.`, `\\.`, `[.]`.
fn dot_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    if rest.starts_with(b"[.]") {
        return Some(at + 3);
    }
    let backslashes = count_backslashes(rest.iter());
    (rest.get(backslashes) == Some(&b'.')).then_some(at + backslashes + 1)
}

fn count_backslashes<'t>(bytes: impl Iterator<Item = &'t u8>) -> usize {
    bytes.take(MAX_BACKSLASHES).take_while(|byte| **byte == b'\\').count()
}

/// Without the dots at both ends.
fn without_outer_dots(name: &[u8]) -> &[u8] {
    let start = name.iter().take_while(|byte| **byte == b'.').count();
    let end = name.iter().rposition(|byte| *byte != b'.').map_or(start, |last| last + 1);
    &name[start..end]
}
