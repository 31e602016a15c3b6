//! Tasks, queue and workers as the API, the dashboard and the command line show them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kind::named;
use crate::{Code, Kind, Problem, Progress, Stage, State, StoredRequest, TaskId, WaitView};

/// The path prefix of the problem pages.
pub const PROBLEM_TYPE_PREFIX: &str = "/problems/";

/// A task as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// The task's id.
    pub id: TaskId,
    /// The kind of task.
    pub kind: Kind,
    /// The stage of the first unfinished step; that of the last step when all have finished.
    pub stage: Stage,
    /// The task's state.
    pub state: State,
    /// The task's progress.
    pub progress: Progress,
    /// Failed attempts, summed over all steps.
    pub attempts: u32,
    /// Attempts that ended with the loss of their worker, summed over all steps.
    pub crashes: u32,
    /// When the task was accepted.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub created_at: Timestamp,
    /// When a worker first claimed it.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub started_at: Option<Timestamp>,
    /// When it ended, in whatever way.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub finished_at: Option<Timestamp>,
    /// The steps in order.
    pub steps: Vec<StepView>,
    /// Why its next steps wait that no worker is doing; only in the response for a single task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitView>,
    /// The request without its secrets.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub request: StoredRequest,
    /// The result. Secrets in it are null once they are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub result: Option<Map<String, Value>>,
    /// The problem that the task failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// How often the failed task was replayed; absent when never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replays: u32,
    /// The state of the webhook to `callback_url`; absent without one and before the task's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<CallbackView>,
    /// Screenshots, pages and reports of the task.
    pub artifacts: Vec<Artifact>,
    /// Paths of related operations.
    pub links: Links,
}

/// The state of the webhook to `callback_url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallbackView {
    /// The webhook's state, with the names of a task's states.
    pub state: State,
    /// Why delivery failed for good; absent unless it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// A step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepView {
    /// The step's name.
    pub name: String,
    /// The stage whose workers do it.
    pub stage: Stage,
    /// The step's state.
    pub state: State,
    /// Failed attempts.
    pub attempts: u32,
    /// Attempts that ended with the loss of their worker.
    pub crashes: u32,
    /// When a worker first claimed it.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub started_at: Option<Timestamp>,
    /// When it ended, in whatever way.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub finished_at: Option<Timestamp>,
}

/// A file that a worker stored for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// File name, unique in its task.
    pub name: String,
    /// Media type.
    pub kind: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Path to download it.
    pub href: String,
}

/// Paths of operations on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Links {
    /// The task.
    #[serde(rename = "self")]
    pub self_: String,
    /// The task's events (SSE).
    pub events: String,
    /// POST cancels the task; absent when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// POST replays the task; absent unless it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A page of tasks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskList {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// `cursor` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The queue's current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueView {
    /// The depth of each stage.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, StageDepth>))]
    pub stages: std::collections::BTreeMap<Stage, StageDepth>,
    /// Tasks that this version cannot read. They are kept for a worker of the version that wrote them.
    #[serde(default)]
    pub unreadable_tasks: u64,
    /// Workers with a recent heartbeat, and those lost lately.
    pub workers: Vec<WorkerView>,
    /// What ended tasks have left on sites: up to 50 that are pending, oldest first, and up to 50 that were given up, newest
    /// first.
    #[serde(default)]
    pub site_cleanups: Vec<SiteCleanupView>,
    /// Why steps wait: the first ones of each stage and reason, of up to 30 tasks.
    #[serde(default)]
    pub waits: Vec<WaitView>,
}

named! {
    /// What becomes of something that an ended task has left on a site.
    LeftState {
        /// It will be undone as soon as the site can be reached.
        Pending = "pending",
        /// It could not be undone within a day.
        GivenUp = "given_up",
        /// Only the site's owner can undo it.
        Manual = "manual",
    }
}

/// Something that an ended task has left on a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeftOnSite {
    /// What is left, and where.
    pub left: String,
    /// What becomes of it.
    pub state: LeftState,
}

/// Something that an ended task has left on a site, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SiteCleanupView {
    /// The task.
    pub task: TaskId,
    /// The site: host without www, with port and path.
    pub site: String,
    /// What is left, and where.
    pub left: String,
    /// What becomes of it.
    pub state: LeftState,
    /// When the task ended.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub since: Timestamp,
}

/// The depth of a stage's queue, in steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StageDepth {
    /// Steps that a worker can claim now.
    pub ready: u64,
    /// Steps that workers are doing.
    pub running: u64,
    /// Steps that wait for their next attempt.
    pub delayed: u64,
    /// Steps that wait until another task on their site has finished.
    pub waiting_for_site: u64,
    /// How long the oldest ready step has waited, in seconds; 0 when none is ready.
    pub oldest_seconds: u64,
    /// `ready + running`, for autoscalers.
    pub outstanding: u64,
    /// The slots that workers with a recent heartbeat have for this stage.
    pub slots: u64,
    /// How many of these slots are busy.
    pub busy: u64,
    /// Workers with a recent heartbeat that serve this stage.
    pub workers: u64,
    /// How many workers the autoscaler wants by the rule that the API is told; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers_wanted: Option<u64>,
}

/// A worker's slots for one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StageSlots {
    /// How many steps of the stage it can do at once.
    pub slots: u32,
    /// How many it is doing.
    pub busy: u32,
}

/// A worker as of its last heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerView {
    /// The worker's id.
    pub id: String,
    /// The stages it serves, with its slots for each.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, StageSlots>))]
    pub stages: std::collections::BTreeMap<Stage, StageSlots>,
    /// When its last heartbeat was received.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub seen_at: Timestamp,
    /// When its first heartbeat was received.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub started_at: Timestamp,
    /// The tasks that it is working on. A task of which it does two steps at once is listed once.
    pub tasks: Vec<TaskId>,
    /// Memory of all its browsers, in bytes.
    pub browser_memory_bytes: u64,
    /// The stages that it is set to serve and cannot serve now, and why.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub unavailable: std::collections::BTreeMap<Stage, String>,
    /// How the lost worker ended; absent while it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}
