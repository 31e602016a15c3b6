//! What a provisioner of containers and the image of clones agree on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// WordPress' folder. It is empty when a clone's volume is new. The folder above has a wp-config.php of the image, which
/// includes [`WP_CONFIG`].
pub const TREE: &str = "/srv/www/wordpress";
/// The folder of the nonces of used login links. It lasts as long as WordPress' folder.
pub const LOGIN: &str = "/srv/login";
/// The PHP of [`crate::clone_runtime`], and the migrator.
pub const CLONE_RUNTIME: &str = "/opt/wpclone";
/// The clone's wp-config.php.
pub const WP_CONFIG: &str = "/etc/wpclone/wp-config.php";
/// The folder of ini files that PHP reads beside its own.
pub const PHP_INI_FOLDER: &str = "/etc/wpclone";
/// The input of the command `setup`: a [`SetupInput`] as JSON.
pub const SETUP_FILE: &str = "/etc/wpclone-setup/setup.json";
/// The variable with the clone's address.
pub const URL_VARIABLE: &str = "WPCLONE_URL";
/// The port that the command `serve` listens on.
pub const PORT: u16 = 8080;
/// The path that is answered with 200 when PHP runs, whatever the site does.
pub const READY_PATH: &str = "/.wpclone/ready";
/// The exit status of the command `setup` when the database refuses it or does not answer (`EX_UNAVAILABLE` of
/// sysexits.h).
pub const DATABASE_EXIT_CODE: u8 = 69;

/// The administrator that is to exist, and how long the migrator takes imports at least.
#[derive(Serialize, Deserialize)]
pub struct SetupInput {
    /// The same only in inputs of one and the same setup, which is done once however often the command runs. Empty in the
    /// Secrets of older versions, which a newer image may read when a pod is started anew.
    #[serde(default)]
    pub id: String,
    /// The administrator's login name.
    pub username: String,
    /// The administrator's password.
    pub password: String,
    /// The migrator's key.
    pub key: String,
    /// Until when the migrator takes imports, in seconds since 1970.
    pub open_until: i64,
}

impl fmt::Debug for SetupInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupInput").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_of_an_older_version_is_read() {
        let input = r#"{"username":"admin","password":"p","key":"k","open_until":1}"#;
        assert_eq!(serde_json::from_str::<SetupInput>(input).unwrap().id, "");
    }
}
