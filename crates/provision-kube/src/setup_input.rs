//! What the container `setup` reads.

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use wpclone_provision::clone_image::SetupInput;

/// The container that installs WordPress.
pub(crate) const SETUP_CONTAINER: &str = "setup";

/// `setup.json`: the administrator that is to exist, and how long the migrator takes imports at least.
pub(crate) fn setup_json(
    id: &str,
    username: &str,
    password: &SecretString,
    migrator_key: &SecretString,
    open_until: Timestamp,
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&SetupInput {
        id: id.to_owned(),
        username: username.to_owned(),
        password: password.expose_secret().to_owned(),
        key: migrator_key.expose_secret().to_owned(),
        open_until: open_until.as_second(),
    })
}
