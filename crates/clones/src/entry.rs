//! What the registry knows of a clone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wpclone_task::{CloneLocation, CloneName, ClonePhase, CloneProblem, Isolation, SiteUrl, TaskId};

/// A clone as its provisioner reports it. Only `sealed` is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneEntry {
    /// The clone's name.
    pub name: CloneName,
    /// The clone's address.
    pub url: SiteUrl,
    /// How far it has come.
    pub phase: ClonePhase,
    /// What is wrong with it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<CloneProblem>,
    /// The task that created it.
    pub task: TaskId,
    /// The clone's owner (token name).
    pub owner: String,
    /// The site that it is a copy of.
    pub source: SiteUrl,
    /// The login name of its administrator.
    pub username: String,
    /// When its creation began.
    pub created_at: Timestamp,
    /// When it is deleted unless it has been published.
    pub deadline: Timestamp,
    /// When it expires; set when it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The isolation that was requested.
    pub isolation: Isolation,
    /// The isolation that it has.
    pub effective_isolation: Map<String, Value>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<CloneLocation>,
    /// The seal of its secrets. It is stored apart from the rest of the entry, which outlives it.
    #[serde(skip)]
    pub sealed: Option<String>,
}

/// A clone that was deleted within the last day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedClone {
    /// The last entry, without its seal.
    pub entry: CloneEntry,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// What is stored under a clone's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloneLookup {
    /// The clone.
    Found(Box<CloneEntry>),
    /// It was deleted within the last day.
    Gone(Box<DeletedClone>),
    /// No clone of this name is known, or it was deleted more than a day ago.
    NotFound,
    /// The clone exists, but this version cannot read its entry.
    Unreadable,
}

/// A page of clones, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClonePage {
    /// The clones.
    pub clones: Vec<CloneEntry>,
    /// How many clones of the page this version cannot read; they are not in `clones`.
    pub unreadable: usize,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<CloneName>,
}
