//! Literals in hexadecimal digits.

use crate::edits::Edits;

/// Appends what the digits stand for; says whether they stand for bytes.
pub(super) fn decode(digits: &[u8], bytes: &mut Vec<u8>) -> bool {
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut all = 0;
    bytes.extend(pairs.iter().map(|[high, low]| {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        all |= high | low;
        high << 4 | low
    }));
    rest.is_empty() && all < 16
}

/// Turns edits of the bytes into edits of the digits, in their case.
pub(super) fn write(digits: &[u8], edits: &Edits, out: &mut Edits) {
    for (range, new) in edits.iter() {
        let old = range.start * 2..range.end * 2;
        let small = is_small(&digits[old.clone()]).or_else(|| is_small(digits)).unwrap_or(false);
        let letters = if small { b"0123456789abcdef" } else { b"0123456789ABCDEF" };
        out.push(old, |to| {
            to.extend(
                new.iter().flat_map(|byte| [byte >> 4, byte & 15].map(|digit| letters[usize::from(digit)])),
            );
        });
    }
}

/// Whether the first digit that tells is a small letter.
fn is_small(digits: &[u8]) -> Option<bool> {
    digits.iter().find(|digit| digit.is_ascii_alphabetic()).map(u8::is_ascii_lowercase)
}

/// What each digit stands for; what is none for too much.
const VALUES: [u8; 256] = {
    let mut values = [128; 256];
    let mut digit = 0;
    while digit < 16 {
        let large = b"0123456789ABCDEF"[digit];
        values[large as usize] = digit as u8;
        values[large.to_ascii_lowercase() as usize] = digit as u8;
        digit += 1;
    }
    values
};
