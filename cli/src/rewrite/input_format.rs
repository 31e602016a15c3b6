//! Refuses input in which no address can be found: text in UTF-16, and files that are compressed.

use crate::failure::Failure;

/// How many bytes of the input are looked at.
pub(super) const START_BYTES: usize = 64;

const CONVERT: &str = "convert it to UTF-8 first, as with: iconv -f UTF-16 -t UTF-8";
const DECOMPRESS: &str = "decompress it first";
const DUMP: &str = "dump it as SQL first";

/// How files begin that hold a dump, but not as text.
const FILES: [(&[u8], &str, &str); 8] = [
    (b"\x1f\x8b", "gzip", DECOMPRESS),
    (b"BZh", "bzip2", DECOMPRESS),
    (b"\xfd7zXZ\0", "xz", DECOMPRESS),
    (b"\x28\xb5\x2f\xfd", "Zstandard", DECOMPRESS),
    (b"PK\x03\x04", "a zip archive", DECOMPRESS),
    (b"7z\xbc\xaf", "a 7z archive", DECOMPRESS),
    (b"SQLite format 3\0", "a database of SQLite", DUMP),
    (b"PGDMP", "a dump of PostgreSQL in its own format", DUMP),
];

/// Checks the first bytes of the input. A value may be any bytes, but not text in UTF-16 or UTF-32.
///
/// # Errors
/// Says what the input is and what to do.
pub(super) fn check(start: &[u8], is_dump: bool) -> Result<(), Failure> {
    let refused = |what: &str, advice: &str| {
        Err(Failure::UnsupportedInput(format!("standard input is {what}; {advice}")))
    };
    // A byte order mark. UTF-32 in little endian begins like UTF-16.
    if start.starts_with(&[0xFF, 0xFE, 0, 0]) || start.starts_with(&[0, 0, 0xFE, 0xFF]) {
        return refused("text in UTF-32", &CONVERT.replace("16", "32"));
    }
    if start.starts_with(&[0xFF, 0xFE]) || start.starts_with(&[0xFE, 0xFF]) || (is_dump && is_utf16(start)) {
        return refused("text in UTF-16, as PowerShell writes it with >", CONVERT);
    }
    match FILES.iter().find(|(mark, ..)| is_dump && start.starts_with(mark)) {
        Some((_, what, advice)) => refused(what, advice),
        None => Ok(()),
    }
}

/// Whether text is in UTF-16 without a byte order mark: every other byte of the first ASCII characters is zero.
fn is_utf16(start: &[u8]) -> bool {
    let (units, _) = start.as_chunks::<2>();
    let all = |is_unit: fn(&[u8; 2]) -> bool| units.len() >= 4 && units.iter().take(8).all(is_unit);
    all(|unit| unit[0] != 0 && unit[1] == 0) || all(|unit| unit[0] == 0 && unit[1] != 0)
}
