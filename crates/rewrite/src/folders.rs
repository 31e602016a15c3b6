//! Folders of the old site's machine, as plugins write them into the database.

use crate::codec::Codec;
use crate::finder::Hit;
use crate::sites::MappingError;

/// An old and a new directory.
#[derive(Debug, Clone)]
pub struct FolderMapping {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl FolderMapping {
    /// A folder that moves, both absolute: `/var/www/html`, `C:\xampp\htdocs`. A separator at the end means nothing.
    ///
    /// # Errors
    /// When one of them is no such folder, or the root of all.
    pub fn new(from: &str, to: &str) -> Result<Self, MappingError> {
        Ok(Self { from: folder(from)?, to: folder(to)? })
    }

    pub(crate) fn from(&self) -> &[u8] {
        &self.from
    }

    pub(crate) fn new_len(&self) -> usize {
        self.to.len()
    }

    /// The longest name in it, which every encoding of single characters leaves alone.
    pub(crate) fn literal(&self) -> &[u8] {
        self.from.split(|byte| is_separator(*byte)).max_by_key(|name| name.len()).unwrap_or(&self.from)
    }
}

fn folder(text: &str) -> Result<Vec<u8>, MappingError> {
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

/// Where an old folder is around a hit, and what comes there instead. Of several the longest.
#[inline]
pub(crate) fn look<'f>(
    folders: &'f [FolderMapping],
    text: &[u8],
    from: usize,
    hit: Hit,
) -> Option<(usize, usize, &'f [u8])> {
    if folders.is_empty() {
        return None;
    }
    let name = &text[hit.at..hit.end];
    let place = |folder: &FolderMapping| {
        let here = |offset: usize| {
            let start = hit.at.checked_sub(offset).filter(|start| *start >= from)?;
            let end = start + folder.from.len();
            let whole = text.get(start..end)? == folder.from;
            (whole && begins(text, start) && !goes_on(&text[end..])).then_some((start, end))
        };
        memchr::memmem::find_iter(&folder.from, name).find_map(here)
    };
    let places = folders.iter().filter_map(|folder| Some((place(folder)?, &folder.to)));
    let longest = places.max_by_key(|((start, end), _)| end - start);
    longest.map(|((start, end), to)| (start, end, to.as_slice()))
}

/// Whether a folder may begin at an offset: it is not a part of a longer one, nor of an address.
fn begins(text: &[u8], start: usize) -> bool {
    let before = &text[..start];
    match before.last() {
        Some(b'/') => before.ends_with(b"file://"),
        Some(byte) if byte.is_ascii_alphanumeric() => Codec::of_end(before).is_some(),
        Some(byte) => byte.is_ascii() && !matches!(byte, b'-' | b'.' | b'_' | b'~'),
        None => true,
    }
}

/// Whether a folder's last name goes on.
fn goes_on(rest: &[u8]) -> bool {
    match rest {
        [b'.', next, ..] => next.is_ascii_alphanumeric(),
        [byte, ..] => !byte.is_ascii() || byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~'),
        [] => false,
    }
}
