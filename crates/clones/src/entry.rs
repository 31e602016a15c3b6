//! What is known of a clone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wpclone_task::{CloneName, ClonePhase, Isolation, SiteUrl, TaskId};

/// A clone as its provisioner tells it. Nothing in it is secret but what is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneEntry {
    /// Its name.
    pub name: CloneName,
    /// Its address.
    pub url: SiteUrl,
    /// How far it has come.
    pub phase: ClonePhase,
    /// The task that made it.
    pub task: TaskId,
    /// The name of the token that owns it.
    pub owner: String,
    /// The site that it is a copy of.
    pub source: SiteUrl,
    /// Its administrator's login name.
    pub username: String,
    /// When its making began.
    pub created_at: Timestamp,
    /// When it is swept unless it was published by then.
    pub deadline: Timestamp,
    /// When it expires; from its publication on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How much it has for itself, as it was asked for.
    pub isolation: Isolation,
    /// What really separates it from others and from the world.
    pub effective_isolation: Map<String, Value>,
    /// The seal of its secrets. It is kept beside the rest, which outlives it.
    #[serde(skip)]
    pub sealed: Option<String>,
}

/// A clone that is no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedClone {
    /// As it was last; without its seal.
    pub entry: CloneEntry,
    /// When it went.
    pub deleted_at: Timestamp,
}

/// What was found under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloneLookup {
    /// The clone.
    Found(Box<CloneEntry>),
    /// It went within the last day.
    Gone(Box<DeletedClone>),
    /// Never heard of it, or not for a day.
    NotFound,
}

/// A page of clones, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClonePage {
    /// The clones.
    pub clones: Vec<CloneEntry>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<CloneName>,
}
