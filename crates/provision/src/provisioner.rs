//! What every provisioner does.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{CloneName, Isolation, Phase, ProvisionError};

/// What time it is. Tests bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Whether a task is unfinished. A clone that an unfinished task works with does not end under it.
pub type Unfinished<'a> = &'a (dyn Fn(&CloneInfo) -> bool + Send + Sync);

/// What a clone takes over from its source, as far as it is known. It is sane without it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceFacts {
    /// The table prefix: letters, digits and underscores.
    pub table_prefix: Option<String>,
    /// PHP's version, such as `8.2.1`; the same `8.2` is taken when it is installed.
    pub php: Option<String>,
    /// PHP's limits.
    pub limits: PhpLimits,
}

/// PHP's limits; what is absent or out of bounds is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PhpLimits {
    /// Bytes.
    pub memory_limit: Option<u64>,
    /// Bytes. A clone takes 128 MB in any case.
    pub upload_max_filesize: Option<u64>,
    /// Seconds.
    pub max_execution_time: Option<u64>,
    /// How many.
    pub max_input_vars: Option<u64>,
}

/// A clone to be made.
#[derive(Debug, Clone)]
pub struct CloneSpec {
    /// Its name.
    pub name: CloneName,
    /// The task that it is made for.
    pub task: String,
    /// Whose it is.
    pub owner: String,
    /// When it is swept unless it was published, or its task is unfinished.
    pub deadline: Timestamp,
    /// How much it has for itself.
    pub isolation: Isolation,
    /// What is known of the source.
    pub facts: SourceFacts,
    /// Bytes that the content will need, when known.
    pub room: u64,
}

/// What really separates a clone from others and from the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Separation {
    /// It has a user of the system of its own; otherwise all clones are the worker's user, with `open_basedir`.
    pub own_user: bool,
    /// It has an empty network of its own; otherwise only the must-use plugin keeps it from calling out.
    pub own_network: bool,
    /// It has a database server of its own.
    pub own_database_server: bool,
}

/// A clone as it is now. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneInfo {
    /// Its name.
    pub name: CloneName,
    /// The task that it was made for.
    pub task: String,
    /// Whose it is.
    pub owner: String,
    /// Its canonical address, without a slash at its end.
    pub url: String,
    /// How far it has come.
    pub phase: Phase,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it is swept unless it was published by then.
    pub deadline: Timestamp,
    /// When it expires; from its publication on.
    pub expires_at: Option<Timestamp>,
    /// As it was asked for.
    pub isolation: Isolation,
    /// What really separates it.
    pub separation: Separation,
    /// What it took over from its source.
    pub facts: SourceFacts,
    /// Its table prefix.
    pub table_prefix: String,
    /// The WordPress that it began with.
    pub wordpress: String,
    /// Its PHP, such as `8.2`.
    pub php: String,
}

/// How to get into a clone.
#[derive(Debug, Clone)]
pub struct Access {
    /// The clone's address.
    pub url: String,
    /// An administrator: `wpclone-…`.
    pub username: String,
    /// The administrator's password.
    pub password: SecretString,
    /// The key of the clone's migrator (64 hex digits), which takes content in.
    pub migrator_key: SecretString,
    /// What links that log in once are signed with: 32 random bytes as 64 lower-case hex digits. The harness knows it.
    pub login_key: SecretString,
}

/// Whether a provisioner works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ready,
    /// It gets ready.
    Starting,
    /// Another process has the state; it takes over when that one ends.
    Waiting,
    /// It cannot, and why: what is missing. It looks again now and then.
    Unavailable(String),
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Clones deleted because their time was over.
    pub expired: Vec<CloneName>,
    /// Clones deleted because nobody published them.
    pub abandoned: Vec<CloneName>,
}

/// Makes clones, keeps them and takes them away. Whatever is asked twice is done once.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// Whether it works, now and as long as it lives.
    fn watch_health(&self) -> watch::Receiver<Health>;

    /// Whether it works.
    fn health(&self) -> Health {
        self.watch_health().borrow().clone()
    }

    /// Makes a clone, and returns when its WordPress answers. For a clone that is there already it is what it was.
    ///
    /// # Errors
    /// It cannot be made; nothing is left of it then.
    async fn provision(&self, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError>;

    /// Gives a clone without content what its source has: table prefix, PHP and its limits. Its database is new
    /// afterwards when the prefix is another.
    ///
    /// # Errors
    /// There is no such clone, or it cannot be done.
    async fn adapt(&self, name: &CloneName, facts: &SourceFacts) -> Result<CloneInfo, ProvisionError>;

    /// A clone.
    ///
    /// # Errors
    /// [`ProvisionError::Gone`] for a day after its deletion, then [`ProvisionError::NotFound`].
    async fn get(&self, name: &CloneName) -> Result<CloneInfo, ProvisionError>;

    /// All clones, oldest first.
    ///
    /// # Errors
    /// They cannot be known.
    async fn list(&self) -> Result<Vec<CloneInfo>, ProvisionError>;

    /// Looks whether a clone's WordPress answers, with its plugins and its database.
    ///
    /// # Errors
    /// It does not, or there is no such clone.
    async fn check(&self, name: &CloneName) -> Result<(), ProvisionError>;

    /// How to get into a clone.
    ///
    /// # Errors
    /// There is no such clone.
    async fn access(&self, name: &CloneName) -> Result<Access, ProvisionError>;

    /// Makes sure that a clone can be got into: the administrator exists with the password (an import replaces all
    /// users), and the migrator is open for another hour.
    ///
    /// # Errors
    /// There is no such clone, or its WordPress does not work.
    async fn ensure_access(&self, name: &CloneName) -> Result<Access, ProvisionError>;

    /// Sets when a clone expires, once; for one that is published already nothing changes.
    ///
    /// # Errors
    /// [`ProvisionError::Gone`] when it is being deleted.
    async fn publish(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError>;

    /// Sets another expiry for a published clone.
    ///
    /// # Errors
    /// There is no such clone, or it is not published.
    async fn extend(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError>;

    /// Deletes a clone with everything of it. That there is none is as good.
    ///
    /// # Errors
    /// Something of it could not be removed; a sweep tries again.
    async fn delete(&self, name: &CloneName) -> Result<(), ProvisionError>;

    /// Deletes what has expired, and what nobody published in time; clones that an unfinished task works with stay,
    /// and their deadline is pushed on.
    ///
    /// # Errors
    /// It could not be done at all; a clone that cannot be deleted is left to the next sweep.
    async fn sweep(&self, unfinished: Unfinished<'_>) -> Result<Swept, ProvisionError>;
}
