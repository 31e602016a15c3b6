//! Random values.

use std::io;

/// `N` random bytes as hex digits.
pub(crate) fn random_hex<const N: usize>() -> io::Result<String> {
    random_bytes::<N>().map(hex::encode)
}

/// A random number that is less than `bound`, which is not zero and much less than 2^32.
pub(crate) fn random_below(bound: u32) -> io::Result<u32> {
    Ok(u32::from_ne_bytes(random_bytes()?) % bound)
}

fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(bytes)
}
