//! The paths in the clone's image, and what its container `setup` reads.

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

/// WordPress' folder. The image has a wp-config.php in the folder above, which includes the one of the Secret.
pub(crate) const TREE: &str = "/srv/www/wordpress";
/// The folder of the nonces of used login links.
pub(crate) const LOGIN: &str = "/srv/login";
/// The PHP of `wpclone_provision::clone_runtime`, and the migrator.
pub(crate) const CLONE_RUNTIME: &str = "/opt/wpclone";
/// The exit status of the container `setup` when the database refuses it or does not answer (`EX_UNAVAILABLE` of
/// sysexits.h).
pub(crate) const DATABASE_EXIT_CODE: i32 = 69;
/// The container that installs WordPress.
pub(crate) const SETUP_CONTAINER: &str = "setup";

/// `setup.json`: the administrator that is to exist, and how long the migrator takes imports at least.
pub(crate) fn setup_json(
    username: &str,
    password: &SecretString,
    migrator_key: &SecretString,
    open_until: Timestamp,
) -> Vec<u8> {
    let input = json!({
        "username": username,
        "password": password.expose_secret(),
        "key": migrator_key.expose_secret(),
        "open_until": open_until.as_second(),
    });
    input.to_string().into_bytes()
}
