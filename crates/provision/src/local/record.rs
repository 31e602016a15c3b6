//! What is known of a clone, kept in its folder.

use std::fs;
use std::io;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::dirs::{Dirs, Seat, make_dir, write_whole};
use crate::{Access, CloneInfo, CloneName, Phase, Routing};

/// How long it is remembered that a clone was deleted.
pub(crate) const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// A clone's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) info: CloneInfo,
    /// By what its address is told from others.
    pub(crate) routing: Routing,
    /// Which of the clones' users it has.
    pub(crate) slot: u32,
}

/// What must not be told. In a file of its own, so that the record can be shown.
pub(crate) struct Secrets {
    pub(crate) username: String,
    pub(crate) password: SecretString,
    pub(crate) migrator_key: SecretString,
    pub(crate) login_key: SecretString,
    pub(crate) database_password: SecretString,
}

/// The same as it lies on the disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    username: String,
    password: String,
    migrator_key: String,
    login_key: String,
    database_password: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        let Self { password, migrator_key, login_key, database_password, .. } = self;
        for secret in [password, migrator_key, login_key, database_password] {
            secret.zeroize();
        }
    }
}

impl Record {
    pub(crate) fn write(&self, dirs: &Dirs) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        write_whole(&Seat::of(dirs, &self.info.name).folder.join("clone.json"), &text, 0o600)
    }

    pub(crate) fn read(dirs: &Dirs, name: &CloneName) -> io::Result<Self> {
        let record: Self =
            serde_json::from_slice(&fs::read(Seat::of(dirs, name).folder.join("clone.json"))?)?;
        if record.info.name == *name { Ok(record) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl Secrets {
    /// New ones.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            username: format!("wpclone-{}", random_hex::<4>()?),
            password: random_hex::<16>()?.into(),
            migrator_key: random_hex::<32>()?.into(),
            login_key: random_hex::<32>()?.into(),
            database_password: random_hex::<16>()?.into(),
        })
    }

    pub(crate) fn write(&self, seat: &Seat) -> io::Result<()> {
        let stored = Stored {
            username: self.username.clone(),
            password: self.password.expose_secret().to_owned(),
            migrator_key: self.migrator_key.expose_secret().to_owned(),
            login_key: self.login_key.expose_secret().to_owned(),
            database_password: self.database_password.expose_secret().to_owned(),
        };
        let text = Zeroizing::new(serde_json::to_vec(&stored)?);
        write_whole(&seat.folder.join("secrets.json"), &text, 0o600)
    }

    pub(crate) fn read(seat: &Seat) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read(seat.folder.join("secrets.json"))?);
        let stored: Stored = serde_json::from_slice(&text)?;
        Ok(Self {
            username: stored.username.clone(),
            password: stored.password.as_str().into(),
            migrator_key: stored.migrator_key.as_str().into(),
            login_key: stored.login_key.as_str().into(),
            database_password: stored.database_password.as_str().into(),
        })
    }

    pub(crate) fn access(self, url: String) -> Access {
        let Self { username, password, migrator_key, login_key, .. } = self;
        Access { url, username, password, migrator_key, login_key }
    }
}

/// Every clone that has a folder: its record, or none when it cannot be read.
pub(crate) fn all(dirs: &Dirs) -> io::Result<Vec<(CloneName, Option<Record>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dirs.clones())? {
        let Some(name) = entry?.file_name().to_str().and_then(|n| n.parse::<CloneName>().ok()) else {
            continue;
        };
        let record = Record::read(dirs, &name).ok().filter(|r| r.info.phase != Phase::Making);
        found.push((name, record));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Remembers that a clone is gone.
pub(crate) fn remember_gone(dirs: &Dirs, name: &CloneName, now: Timestamp) -> io::Result<()> {
    make_dir(&dirs.gone(), 0o700)?;
    write_whole(&dirs.gone().join(name.as_str()), now.to_string().as_bytes(), 0o600)
}

/// Whether a clone is remembered as gone.
pub(crate) fn is_gone(dirs: &Dirs, name: &CloneName, now: Timestamp) -> bool {
    let at = fs::read_to_string(dirs.gone().join(name.as_str())).ok();
    at.and_then(|t| t.parse::<Timestamp>().ok()).is_some_and(|at| now.duration_since(at) < REMEMBERED)
}

/// Forgets clones that are gone for long.
pub(crate) fn forget_gone(dirs: &Dirs, now: Timestamp) {
    for entry in fs::read_dir(dirs.gone()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_str().and_then(|n| n.parse::<CloneName>().ok());
        if name.is_some_and(|name| !is_gone(dirs, &name, now)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Random bytes as hex digits.
pub(crate) fn random_hex<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(hex::encode(bytes))
}
