//! Plugins keep the MD5 of an address beside it, to look it up by an index (`permalink_hash` of Yoast SEO). It follows the
//! address, because a look-up by the new one finds nothing otherwise.

use std::borrow::Cow;

use md5::{Digest as _, Md5};

/// The hexadecimal digits of an MD5.
const DIGITS: usize = 32;
/// The longest value before the digits: the length of the address, and a colon.
const MAX_LENGTH_DIGITS: usize = 5;
/// Longer values are no addresses.
const MAX_ADDRESS_BYTES: usize = 8192;

/// A hash of an address that changed with it: the columns of both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpdatedHash {
    pub(crate) hash_column: usize,
    pub(crate) address_column: usize,
}

/// Replaces each value of a row that did not change and is the MD5 of one that did, by the MD5 of the new one: in lower case,
/// alone or after the length (`37:` and the digits). `fits` is asked about a column and its new value. Returns the hashes
/// that changed.
pub(crate) fn update_hashes(
    old: &[Option<&[u8]>],
    new: &mut [Option<Cow<'_, [u8]>>],
    fits: impl Fn(usize, &[u8]) -> bool,
) -> Vec<UpdatedHash> {
    let hashes: Vec<_> = old.iter().enumerate().filter(|(_, value)| value.is_some_and(is_hash)).collect();
    let mut changed = Vec::new();
    if hashes.is_empty() {
        return changed;
    }
    for (at, before) in old.iter().enumerate() {
        let (Some(before), Some(Some(Cow::Owned(after)))) = (before, new.get(at)) else { continue };
        if before.len() > MAX_ADDRESS_BYTES || *before == after.as_slice() {
            continue;
        }
        let (before, after) = (HashForms::of(before), HashForms::of(after));
        for (hash, value) in hashes.iter().filter_map(|(at, value)| Some((*at, (**value)?))) {
            let updated = match value {
                _ if value == before.plain => &after.plain,
                _ if value == before.with_length => &after.with_length,
                _ => continue,
            };
            if !changed.iter().any(|other: &UpdatedHash| other.hash_column == hash) && fits(hash, updated) {
                new[hash] = Some(Cow::Owned(updated.clone()));
                changed.push(UpdatedHash { hash_column: hash, address_column: at });
            }
        }
    }
    changed
}

/// The forms in which plugins keep the hash of an address.
struct HashForms {
    plain: Vec<u8>,
    with_length: Vec<u8>,
}

impl HashForms {
    fn of(address: &[u8]) -> Self {
        let plain = hex::encode(Md5::digest(address));
        let with_length = format!("{}:{plain}", address.len()).into_bytes();
        Self { plain: plain.into_bytes(), with_length }
    }
}

/// Whether a value has the form of a hash.
fn is_hash(value: &[u8]) -> bool {
    let Some(at) = value.len().checked_sub(DIGITS) else { return false };
    let (length, digits) = value.split_at(at);
    let has_length = length.split_last().is_some_and(|(colon, number)| {
        *colon == b':' && number.len() <= MAX_LENGTH_DIGITS && number.iter().all(u8::is_ascii_digit)
    });
    (length.is_empty() || has_length) && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"http://a.example/about/";
    const NEW: &[u8] = b"https://a-longer-name.example/about/";

    fn updated(hash: &[u8]) -> Vec<u8> {
        let old = [Some(OLD), None, Some(hash)];
        let mut new = [Some(Cow::Owned(NEW.to_vec())), None, Some(Cow::Borrowed(hash))];
        update_hashes(&old, &mut new, |_, _| true);
        new[2].as_deref().unwrap_or_default().to_vec()
    }

    #[test]
    fn the_hash_of_an_address_follows_it_alone_and_after_its_length() {
        // printf … | md5sum
        let (old, new) =
            (b"54a5ab1cce4a082fef0968552c62e273".as_slice(), b"bdcc3d46be4f7c35e72b12c98546f25a".as_slice());
        assert_eq!(updated(old), new);
        assert_eq!(updated(&[b"23:", old].concat()), [b"36:", new].concat());
    }

    #[test]
    fn other_values_stay() {
        for other in [
            b"".as_slice(),
            b"d41d8cd98f00b204e9800998ecf8427e",
            b"24:54a5ab1cce4a082fef0968552c62e273",
            b"x:54a5ab1cce4a082fef0968552c62e273",
            b"54a5ab1cce4a082fef0968552c62e273 ",
            OLD,
        ] {
            assert_eq!(updated(other), other, "{}", String::from_utf8_lossy(other));
        }
        let hash = Some(b"54a5ab1cce4a082fef0968552c62e273".as_slice());
        let (old, mut new) = ([Some(OLD), hash], [Some(Cow::Owned(NEW.to_vec())), hash.map(Cow::Borrowed)]);
        assert!(update_hashes(&old, &mut new, |_, _| false).is_empty());
        assert_eq!(new[1].as_deref(), hash);
    }
}
