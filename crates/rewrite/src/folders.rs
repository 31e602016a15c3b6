//! Folders on the old site's server, which plugins write into the database.

use crate::codec::Codec;
use crate::hit::Hit;
use crate::sites::MappingError;

/// An old and a new directory.
#[derive(Debug, Clone)]
pub struct FolderMapping {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl FolderMapping {
    /// A folder that moves; both are absolute: `/var/www/html`, `C:\xampp\htdocs`. A separator at the end is ignored.
    ///
    /// # Errors
    /// If one of them is not an absolute folder, or is the root directory.
    pub fn new(from: &str, to: &str) -> Result<Self, MappingError> {
        Ok(Self { from: parse_folder(from)?, to: parse_folder(to)? })
    }

    pub(crate) fn from(&self) -> &[u8] {
        &self.from
    }

    pub(crate) fn to(&self) -> &[u8] {
        &self.to
    }

    pub(crate) fn new_len(&self) -> usize {
        self.to.len()
    }

    /// The longest name in the path, which no encoding of single characters changes.
    pub(crate) fn literal(&self) -> &[u8] {
        self.from.split(|byte| is_separator(*byte)).max_by_key(|name| name.len()).unwrap_or(&self.from)
    }
}

fn parse_folder(text: &str) -> Result<Vec<u8>, MappingError> {
    let folder = text.trim().trim_end_matches(['/', '\\']);
    let drive = matches!(folder.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    if folder.len() > 1 && folder.is_ascii() && (folder.starts_with('/') || drive) {
        return Ok(folder.as_bytes().to_vec());
    }
    Err(MappingError::InvalidFolder(text.to_owned()))
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Finds the old folder around a hit: its start, its end and the new folder. The longest one wins.
#[inline]
pub(crate) fn find_folder<'f>(
    folders: &'f [FolderMapping],
    text: &[u8],
    from: usize,
    hit: Hit,
) -> Option<(usize, usize, &'f [u8])> {
    if folders.is_empty() {
        return None;
    }
    let name = &text[hit.at..hit.end];
    let find = |folder: &FolderMapping| {
        let matches_at = |offset: usize| {
            let start = hit.at.checked_sub(offset).filter(|start| *start >= from)?;
            let end = start + folder.from.len();
            let is_same = text.get(start..end)? == folder.from;
            (is_same && starts_path(text, start) && !path_continues(&text[end..])).then_some((start, end))
        };
        memchr::memmem::find_iter(&folder.from, name).find_map(matches_at)
    };
    let found = folders.iter().filter_map(|folder| Some((find(folder)?, &folder.to)));
    let longest = found.max_by_key(|((start, end), _)| end - start);
    longest.map(|((start, end), to)| (start, end, to.as_slice()))
}

/// Whether a path may start at an offset: not inside a longer path or an address.
fn starts_path(text: &[u8], start: usize) -> bool {
    let before = &text[..start];
    match before.last() {
        Some(b'/') => before.ends_with(b"file://"),
        Some(byte) if byte.is_ascii_alphanumeric() => Codec::of_last_char(before).is_some(),
        Some(byte) => byte.is_ascii() && !matches!(byte, b'-' | b'.' | b'_' | b'~'),
        None => true,
    }
}

/// Whether the last name of the path continues.
fn path_continues(rest: &[u8]) -> bool {
    match rest {
        [b'.', next, ..] => next.is_ascii_alphanumeric(),
        [byte, ..] => !byte.is_ascii() || byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~'),
        [] => false,
    }
}
