//! Recognises values that are not text: files, and data with lengths, offsets or checksums of its own. An address of
//! another length would damage them.

use crate::found_strings::FoundStrings;
use crate::php::LengthUnit;
use crate::{json, php};

/// Whether a value of a binary column is text, or a structure whose lengths are known.
pub(crate) fn is_rewritable(value: &[u8]) -> bool {
    (!has_format_mark(value) && is_text(value) && !is_protobuf(value)) || is_whole_structure(value)
}

/// Whether bytes begin like a file or a data format. No text begins like one of these.
pub(crate) fn has_format_mark(bytes: &[u8]) -> bool {
    match bytes {
        // PNG, JPEG, TIFF, icons.
        [0x89, b'P', b'N', b'G', ..] | [0xFF, 0xD8, 0xFF, ..] => true,
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] | [0, 0, 1, 0, ..] => true,
        // GIF: the signature is readable, but not all of the size and flags after it.
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', screen @ ..] => {
            screen.iter().take(7).any(|byte| !byte.is_ascii() || byte.is_ascii_control())
        }
        // WebP, WAV and AVI; MP4, HEIC and AVIF; Matroska; Ogg, FLAC, MP3.
        [b'R', b'I', b'F', b'F', _, _, _, _, kind @ ..] => {
            kind.starts_with(b"WEBP") || kind.starts_with(b"WAVE") || kind.starts_with(b"AVI ")
        }
        [0, _, _, _, b'f', b't', b'y', b'p', ..] | [0x1A, 0x45, 0xDF, 0xA3, ..] => true,
        [b'O', b'g', b'g', b'S', 0, ..] | [b'f', b'L', b'a', b'C', 0, ..] => true,
        [b'I', b'D', b'3', 2..=4, ..] => true,
        // Fonts.
        [b'w', b'O', b'F', b'F' | b'2', 0, ..] | [b'O', b'T', b'T', b'O', 0, ..] | [0, 1, 0, 0, 0, ..] => {
            true
        }
        // Zip, and documents that are one; gzip, bzip2, xz, Zstandard, LZ4, 7z, RAR.
        [b'P', b'K', 3 | 5 | 7, 4 | 6 | 8, ..] | [0x1F, 0x8B, ..] => true,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => true,
        [0xFD, b'7', b'z', b'X', b'Z', ..] | [0x28, 0xB5, 0x2F, 0xFD, ..] | [4, 0x22, 0x4D, 0x18, ..] => true,
        [b'7', b'z', 0xBC, 0xAF, ..] | [b'R', b'a', b'r', b'!', 0x1A, ..] => true,
        // PDF, older office documents.
        [b'%', b'P', b'D', b'F', b'-', b'0'..=b'9', b'.', ..] | [0xD0, 0xCF, 0x11, 0xE0, ..] => true,
        // igbinary, SQLite, WebAssembly, ELF, serialised Java.
        [0, 0, 0, 1 | 2, ..] | [0, b'a', b's', b'm', ..] | [0x7F, b'E', b'L', b'F', ..] => true,
        [0xAC, 0xED, 0, 5, ..] => true,
        _ => bytes.starts_with(b"SQLite format 3\0"),
    }
}

/// Whether bytes are UTF-8 without other control characters than white space.
fn is_text(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t'..=b'\r' | 0x1B);
    !bytes.iter().any(is_control) && std::str::from_utf8(bytes).is_ok()
}

/// Whether a value is serialised data or JSON from its first to its last byte. The names of private properties
/// contain NULs.
fn is_whole_structure(value: &[u8]) -> bool {
    let text = value.trim_ascii();
    let mut found = FoundStrings::default();
    let is_php = php::may_start(text, 0)
        && php::parse(text, 0, LengthUnit::Bytes, found.collector(&[], 0..0, 0)) == Ok(text.len());
    is_php
        || (json::may_start(text, 0) && json::parse(text, 0, found.collector(&[], 0..0, 0)) == Ok(text.len()))
}

/// Whether a value is a message of Protocol Buffers from its first to its last byte, with a string in it. Tags and lengths
/// may all be printable. <https://protobuf.dev/programming-guides/encoding/>
fn is_protobuf(value: &[u8]) -> bool {
    let (mut rest, mut has_string) = (value, false);
    while let Some(tag) = take_varint(&mut rest) {
        let length = match tag & 7 {
            0 => take_varint(&mut rest).map(|_| 0),
            1 => Some(8),
            2 => take_varint(&mut rest),
            5 => Some(4),
            _ => None,
        };
        let after = length
            .and_then(|length| rest.split_at_checked(usize::try_from(length).ok()?))
            .filter(|_| tag >> 3 > 0);
        let Some((_, after)) = after else { return false };
        (rest, has_string) = (after, has_string || tag & 7 == 2);
    }
    has_string && rest.is_empty()
}

/// Takes a number of variable length: seven bits a byte, the lowest first.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let length = rest.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let (bytes, after) = rest.split_at(length);
    *rest = after;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7F)))
}
