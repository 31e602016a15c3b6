//! Why tasks wait, as the API, the dashboard and the command line show it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::kind::named;
use crate::{Stage, TaskId};

named! {
    /// What a step waits for.
    WaitReason {
        /// Another task on its site, or one that is in line there before it.
        Site = "site",
        /// The pause before its next attempt.
        Retry = "retry",
        /// A worker of its stage: none is running.
        NoWorker = "no_worker",
        /// A free slot: all workers of its stage are busy.
        WorkersBusy = "workers_busy",
        /// Its turn: a worker will take it at any moment, or its owner has as many slots as one of several owners may have.
        Turn = "turn",
    }
}

/// A step that no worker is doing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaitView {
    /// The task.
    pub task: TaskId,
    /// The step's name.
    pub step: String,
    /// The stage whose workers do it.
    pub stage: Stage,
    /// What it waits for.
    pub reason: WaitReason,
    /// The same as a sentence.
    pub detail: String,
    /// The site that another task has: host without www, with port and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The task that has the site or is in line before it; absent when it is another owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<TaskId>,
    /// When the next attempt is.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::timestamp::serialize_option"
    )]
    pub until: Option<Timestamp>,
}
