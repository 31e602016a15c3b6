//! Random values.

use std::io;

pub(crate) use wpclone_provision::random_hex;

/// A random number that is less than `bound`, which is not zero and much less than 2^32.
pub(crate) fn random_below(bound: u32) -> io::Result<u32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u32::from_ne_bytes(bytes) % bound)
}
