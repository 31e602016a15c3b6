//! Random names and passwords.

use wpclone_provision::{ProvisionError, random_hex};

/// `N` random bytes as hex digits.
pub(crate) fn random<const N: usize>() -> Result<String, ProvisionError> {
    random_hex::<N>().map_err(|error| ProvisionError::internal("there are no random numbers", error))
}
