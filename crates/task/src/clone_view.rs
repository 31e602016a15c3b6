//! What the API shows of clones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kind::named;
use crate::{CloneLocation, CloneName, Isolation, SiteText, SiteUrl, TaskId};

named! {
    /// The phase of a clone.
    ClonePhase {
        /// It is being created.
        Creating = "creating",
        /// Its WordPress responds, and its content is being transferred.
        Ready = "ready",
        /// It is complete, and expires.
        Published = "published",
        /// It is being deleted.
        Deleting = "deleting",
        /// Its record cannot be read. It is kept, and not run until it can be read again.
        Unreadable = "unreadable",
    }
}

named! {
    /// What is wrong with a clone.
    CloneProblemKind {
        /// Its programs do not start. They are started again and again, with growing pauses.
        NotStarting = "not_starting",
        /// It was stopped because it needs more disk than a clone may have. It is not started again.
        DiskLimitExceeded = "disk_limit_exceeded",
        /// It was stopped because it filled the memory of its database server. It is not started again.
        DatabaseLimitExceeded = "database_limit_exceeded",
        /// It was stopped because it held very many locks of files, which take memory of the machine. It is not started again.
        LockLimitExceeded = "lock_limit_exceeded",
        /// What is stored of it cannot be read. It is kept, and not run until it can be read again.
        Unreadable = "unreadable",
        /// It is being deleted, but something of it cannot be removed. It is tried again and again, with growing pauses.
        NotRemovable = "not_removable",
    }
}

impl CloneProblemKind {
    /// Whether a clone with this problem is not run, also after a restart of its provisioner.
    #[must_use]
    pub const fn stops_clone(self) -> bool {
        matches!(self, Self::DiskLimitExceeded | Self::DatabaseLimitExceeded | Self::LockLimitExceeded)
    }
}

/// What is wrong with a clone, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloneProblem {
    /// What is wrong.
    pub kind: CloneProblemKind,
    /// Why, in words; at most 300 characters.
    pub detail: SiteText,
}

/// The most characters of a [`CloneProblem`]'s detail.
const MAX_PROBLEM_DETAIL: usize = 300;

impl CloneProblem {
    /// A problem. `detail` may contain what a clone's own programs wrote.
    #[must_use]
    pub fn new(kind: CloneProblemKind, detail: &str) -> Self {
        Self { kind, detail: SiteText::with_limit(detail, MAX_PROBLEM_DETAIL) }
    }
}

impl ClonePhase {
    /// Whether its task is still creating or filling it.
    #[must_use]
    pub const fn is_before_publication(self) -> bool {
        matches!(self, Self::Creating | Self::Ready)
    }
}

/// A clone as the API shows it.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloneView {
    /// The clone's name.
    pub name: CloneName,
    /// The clone's URL.
    pub url: SiteUrl,
    /// The clone's state.
    pub state: ClonePhase,
    /// What is wrong with it; absent while it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<CloneProblem>,
    /// The site that it was copied from.
    pub source: SiteUrl,
    /// The task that created it.
    pub task: TaskId,
    /// The name of the token that owns it; only operators see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When its creation began.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub created_at: Timestamp,
    /// When it expires; null until it is published.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub expires_at: Option<Timestamp>,
    /// The requested isolation.
    pub isolation: Isolation,
    /// What actually isolates it from other clones and the network.
    pub effective_isolation: Map<String, Value>,
    /// Where it runs, as it was at most some 15 seconds ago; only operators see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<CloneLocation>,
    /// The administrator's login name.
    pub username: String,
    /// The administrator's password, shown to the owner in the response for a single clone.
    pub password: Option<String>,
    /// Paths of related operations.
    pub links: CloneLinks,
}

/// Paths of operations on a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloneLinks {
    /// The clone: PATCH changes when it expires, DELETE deletes it.
    #[serde(rename = "self")]
    pub self_: String,
    /// POST creates a one-time login link; absent unless the clone is published and the caller owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The task that created it.
    pub task: String,
}

/// A page of clones, newest first.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloneList {
    /// The clones.
    pub clones: Vec<CloneView>,
    /// `cursor` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<CloneName>,
}

/// A one-time login link of a clone.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginLink {
    /// The link; it is a secret.
    pub url: String,
    /// When the link expires.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub expires_at: Timestamp,
}
