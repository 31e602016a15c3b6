//! Random values.

use std::io;

/// `N` random bytes as hex digits.
///
/// # Errors
/// The system has no random numbers.
pub fn random_hex<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(hex::encode(bytes))
}
