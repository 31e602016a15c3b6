//! What the API shows of clones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kind::named;
use crate::{CloneName, Isolation, SiteUrl, TaskId};

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

impl ClonePhase {
    /// Whether its task is still creating or filling it.
    #[must_use]
    pub const fn is_before_publication(self) -> bool {
        matches!(self, Self::Creating | Self::Ready)
    }
}

/// A clone as the API shows it. It may hold a password: it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloneView {
    /// Its name.
    pub name: CloneName,
    /// Its address.
    pub url: SiteUrl,
    /// How far it has come.
    pub state: ClonePhase,
    /// The site that it is a copy of.
    pub source: SiteUrl,
    /// The task that made it.
    pub task: TaskId,
    /// The name of the token that owns it; only operators see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When its making began.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub created_at: Timestamp,
    /// When it expires; null until it is published.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub expires_at: Option<Timestamp>,
    /// How much it has for itself, as it was asked for.
    pub isolation: Isolation,
    /// What really separates it from others and from the world.
    pub effective_isolation: Map<String, Value>,
    /// Its administrator's login name.
    pub username: String,
    /// The administrator's password: for its owner, where one clone is asked for by its name.
    pub password: Option<String>,
    /// Where to go from here.
    pub links: CloneLinks,
}

/// Where to go from a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloneLinks {
    /// The clone: PATCH lets it live longer or shorter, DELETE takes it away.
    #[serde(rename = "self")]
    pub self_: String,
    /// POST here makes a link that logs in once; absent unless it is published and the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The task that made it.
    pub task: String,
}

/// A page of clones, newest first.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloneList {
    /// The clones.
    pub clones: Vec<CloneView>,
    /// `cursor` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<CloneName>,
}

/// An address that logs in to a clone once. It is a secret: it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginLink {
    /// The address.
    pub url: String,
    /// Until when it does.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub expires_at: Timestamp,
}
