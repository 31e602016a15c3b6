//! A clone's secrets.

use std::io;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use wpclone_provision::{Access, CloneInfo};
use zeroize::{Zeroize as _, Zeroizing};

use crate::clone_paths::ClonePaths;
use crate::files::write_atomically;
use crate::random::random_hex;
use crate::stored::{self, ReadError};

/// The version of `secrets.json`.
const VERSION: u32 = 2;

/// The secrets of a clone. They are in a file of their own, so that the record can be shown.
pub(crate) struct Secrets {
    pub(crate) password: SecretString,
    pub(crate) migrator_key: SecretString,
    pub(crate) login_key: SecretString,
    pub(crate) database_password: SecretString,
}

/// The form on the disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSecrets {
    version: u32,
    password: String,
    migrator_key: String,
    login_key: String,
    database_password: String,
}

impl Drop for StoredSecrets {
    fn drop(&mut self) {
        let Self { password, migrator_key, login_key, database_password, .. } = self;
        for secret in [password, migrator_key, login_key, database_password] {
            secret.zeroize();
        }
    }
}

impl Secrets {
    /// New random ones.
    pub(crate) fn generate() -> io::Result<Self> {
        Ok(Self {
            password: random_hex::<16>()?.into(),
            migrator_key: random_hex::<32>()?.into(),
            login_key: random_hex::<32>()?.into(),
            database_password: random_hex::<16>()?.into(),
        })
    }

    pub(crate) fn write(&self, paths: &ClonePaths) -> io::Result<()> {
        let stored = StoredSecrets {
            version: VERSION,
            password: self.password.expose_secret().to_owned(),
            migrator_key: self.migrator_key.expose_secret().to_owned(),
            login_key: self.login_key.expose_secret().to_owned(),
            database_password: self.database_password.expose_secret().to_owned(),
        };
        let text = Zeroizing::new(serde_json::to_vec(&stored)?);
        write_atomically(&paths.secrets(), &text, 0o600)
    }

    pub(crate) fn read(paths: &ClonePaths) -> Result<Self, ReadError> {
        let stored: StoredSecrets = stored::read(&paths.secrets(), VERSION)?;
        Ok(Self {
            password: stored.password.as_str().into(),
            migrator_key: stored.migrator_key.as_str().into(),
            login_key: stored.login_key.as_str().into(),
            database_password: stored.database_password.as_str().into(),
        })
    }

    pub(crate) fn into_access(self, info: CloneInfo) -> Access {
        let Self { password, migrator_key, login_key, .. } = self;
        Access { url: info.url, username: info.username, password, migrator_key, login_key }
    }
}
