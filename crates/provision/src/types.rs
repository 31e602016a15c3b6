//! What a provisioner takes and returns.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CloneLocation, CloneName, CloneProblem, Isolation, Phase, SiteUrl, TaskId};

// Implementations store these, so an unknown field is an error: it comes from another version, and writing the record
// again would lose it.

/// What a clone takes over from its source, as far as it is known; the defaults make a working clone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFacts {
    /// The table prefix: letters, digits and underscores.
    pub table_prefix: Option<String>,
    /// PHP's version, such as `8.2.1`; the clone gets the same minor version where it is installed.
    pub php: Option<String>,
    /// PHP's limits.
    pub limits: PhpLimits,
    /// `DB_CHARSET`, by which WordPress reads the bytes of its database; without one, or with one that the clone's database
    /// does not know, it is `utf8mb4`.
    pub charset: Option<String>,
    /// `DB_COLLATE`; none if the clone's database does not have it.
    pub collation: Option<String>,
    /// The folder of the uploads below WordPress, if it is not the usual one.
    pub uploads: Option<String>,
    /// Constants of wp-config.php: booleans, integers and texts. Those that the clone has itself are ignored.
    pub constants: BTreeMap<String, Value>,
}

/// PHP's limits. Where one is absent or out of bounds, the clone has the provisioner's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhpLimits {
    /// Bytes.
    pub memory_limit: Option<u64>,
    /// Bytes. A clone accepts at least 128 MiB.
    pub upload_max_filesize: Option<u64>,
    /// Seconds.
    pub max_execution_time: Option<u64>,
    /// The number of input variables.
    pub max_input_vars: Option<u64>,
}

/// A clone to be created.
#[derive(Debug, Clone)]
pub struct CloneSpec {
    /// The clone's name.
    pub name: CloneName,
    /// The task that it is created for.
    pub task: TaskId,
    /// The clone's owner (token name).
    pub owner: String,
    /// The site that it becomes a copy of.
    pub source: SiteUrl,
    /// When it is deleted unless it is published by then, or its task is unfinished.
    pub deadline: Timestamp,
    /// The requested isolation.
    pub isolation: Isolation,
    /// Whether there are other owners. Then one owner never gets all places for clones.
    pub has_other_owners: bool,
}

/// What really isolates a clone from others and from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectiveIsolation {
    /// It runs as a system user of its own; otherwise all clones run as the worker's user, with `open_basedir`.
    pub own_user: bool,
    /// It has a sandbox with an empty network of its own; otherwise only the sandbox plugin stops outgoing requests.
    pub own_network: bool,
    /// It has a database server of its own.
    pub own_database_server: bool,
}

/// A clone as it is now. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneInfo {
    /// The clone's name.
    pub name: CloneName,
    /// The task that it was created for. The task is kept for a shorter time than a clone may be.
    pub task: TaskId,
    /// The clone's owner (token name).
    pub owner: String,
    /// The site that it is a copy of.
    pub source: SiteUrl,
    /// Its canonical address, without a slash at the end.
    pub url: String,
    /// The login name of its administrator: `wpclone-…`.
    pub username: String,
    /// Its phase.
    pub phase: Phase,
    /// What is wrong with it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<CloneProblem>,
    /// When its creation began.
    pub created_at: Timestamp,
    /// When it is deleted unless it is published by then.
    pub deadline: Timestamp,
    /// When it expires; set by its publication.
    pub expires_at: Option<Timestamp>,
    /// The requested isolation.
    pub isolation: Isolation,
    /// The isolation that it got.
    pub effective_isolation: EffectiveIsolation,
    /// What it took over from its source.
    pub facts: SourceFacts,
    /// Its table prefix.
    pub table_prefix: String,
    /// The version of the WordPress that it was created with.
    pub wordpress: String,
    /// Its PHP, such as `8.2`.
    pub php: String,
    /// Where it runs. It is what the provisioner finds when it is asked, and not a part of records.
    #[serde(skip)]
    pub location: Option<CloneLocation>,
}

/// How to log in to a clone and import into it.
#[derive(Debug, Clone)]
pub struct Access {
    /// The clone's address.
    pub url: String,
    /// The administrator's login name.
    pub username: String,
    /// The administrator's password.
    pub password: SecretString,
    /// The key of the clone's migrator (64 hex digits), which accepts imports.
    pub migrator_key: SecretString,
    /// The key that one-time login links are signed with: 32 random bytes as 64 lower-case hex digits. The sandbox
    /// plugin checks the signature.
    pub login_key: SecretString,
}

/// Whether a provisioner works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Clones can be created.
    Ready,
    /// The provisioner is starting.
    Starting,
    /// Another process has the state; this one takes over when that one ends.
    Waiting,
    /// No clone can be created, and why. The provisioner tries again by itself.
    Unavailable(String),
}

/// The clones that a sweep deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Clones that had expired.
    pub expired: Vec<CloneName>,
    /// Clones that were not published before their deadline.
    pub abandoned: Vec<CloneName>,
}

/// What a provisioner keeps without using it, because it cannot tell what it is: a record that cannot be read or is of
/// another version, or data that no clone is known for. It is never deleted by the provisioner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetAside {
    /// Clones whose record or secrets cannot be read.
    pub clones: Vec<UnreadableClone>,
    /// Data that belongs to no known clone, described for the operator.
    pub unclaimed: Vec<String>,
}

impl SetAside {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clones.is_empty() && self.unclaimed.is_empty()
    }
}

/// A clone that cannot be read. It is taken up again when it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableClone {
    /// The clone's name.
    pub name: CloneName,
    /// What cannot be read, and why.
    pub reason: String,
    /// The clone, when only something else of it cannot be read than its record.
    pub info: Option<Box<CloneInfo>>,
}
