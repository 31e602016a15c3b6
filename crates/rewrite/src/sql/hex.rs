//! Hexadecimal literals.

use crate::edits::Edits;

/// Decodes the digits and appends the bytes. Returns whether the digits are valid.
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

/// Converts edits of the bytes into edits of the digits, in the same case.
pub(super) fn write_edits(digits: &[u8], edits: &Edits, out: &mut Edits) {
    for (range, new) in edits.iter() {
        let old = range.start * 2..range.end * 2;
        let lowercase =
            uses_lowercase(&digits[old.clone()]).or_else(|| uses_lowercase(digits)).unwrap_or(false);
        let letters = if lowercase { b"0123456789abcdef" } else { b"0123456789ABCDEF" };
        out.push(old, |to| {
            to.extend(
                new.iter().flat_map(|byte| [byte >> 4, byte & 15].map(|digit| letters[usize::from(digit)])),
            );
        });
    }
}

/// Whether the first digit that is a letter is in lower case.
fn uses_lowercase(digits: &[u8]) -> Option<bool> {
    digits.iter().find(|digit| digit.is_ascii_alphabetic()).map(u8::is_ascii_lowercase)
}

/// The value of each digit; other bytes have a value above 15.
const VALUES: [u8; 256] = {
    let mut values = [128; 256];
    let mut digit = 0;
    while digit < 16 {
        let upper = b"0123456789ABCDEF"[digit];
        values[upper as usize] = digit as u8;
        values[upper.to_ascii_lowercase() as usize] = digit as u8;
        digit += 1;
    }
    values
};
