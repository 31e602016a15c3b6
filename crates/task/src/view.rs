//! What the API shows: one form of a task, for its answers, the dashboard and the command line alike.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Code, Kind, Problem, Progress, Stage, State, StoredRequest, TaskId};

/// Where the pages of the problem codes are.
pub const PROBLEM_TYPE_PREFIX: &str = "/problems/";

/// A task as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// What was asked for.
    pub kind: Kind,
    /// The stage of its earliest unfinished step; the last one's when all are finished.
    pub stage: Stage,
    /// Where it stands.
    pub state: State,
    /// How far it has come.
    pub progress: Progress,
    /// Attempts that failed, over all steps.
    pub attempts: u32,
    /// Workers that it lost, over all steps.
    pub crashes: u32,
    /// When it was accepted.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub created_at: Timestamp,
    /// When a worker first took it.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub finished_at: Option<Timestamp>,
    /// Its steps in order.
    pub steps: Vec<StepView>,
    /// The request without its secrets.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub request: StoredRequest,
    /// What it achieved. Secrets in it are null once they are no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub result: Option<Map<String, Value>>,
    /// What it ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// How often it was done again after it had failed; absent when never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replays: u32,
    /// How the call to `callback_url` stands; absent when there is none to make, or the task has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<CallbackView>,
    /// Pictures and pages that were kept.
    pub artifacts: Vec<Artifact>,
    /// Where to go from here.
    pub links: Links,
}

/// How the call to `callback_url` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallbackView {
    /// Where it stands: the words of a task.
    pub state: State,
    /// Why it was given up; absent unless it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// A step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// The stage that does it.
    pub stage: Stage,
    /// Where it stands.
    pub state: State,
    /// Attempts that failed.
    pub attempts: u32,
    /// Workers that it lost.
    pub crashes: u32,
    /// When a worker first took it.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub finished_at: Option<Timestamp>,
}

/// Something a worker kept of its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// File name, unique in its task.
    pub name: String,
    /// Media type.
    pub kind: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Where to get it.
    pub href: String,
}

/// Where to go from a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Links {
    /// The task.
    #[serde(rename = "self")]
    pub self_: String,
    /// Its events (SSE).
    pub events: String,
    /// POST here ends it; absent when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// POST here does it again; absent unless it has failed.
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
    /// `cursor` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The queue at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueView {
    /// By stage.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, StageDepth>))]
    pub stages: std::collections::BTreeMap<Stage, StageDepth>,
    /// Workers that were seen lately.
    pub workers: Vec<WorkerView>,
}

/// How much work a stage has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StageDepth {
    /// Steps that a worker could take now.
    pub ready: u64,
    /// Steps that workers have.
    pub running: u64,
    /// Steps that wait for their time.
    pub delayed: u64,
    /// Steps that wait for another task on their site.
    pub waiting_for_site: u64,
    /// How long the oldest ready step has been waiting, in seconds; 0 when none is.
    pub oldest_seconds: u64,
    /// `ready + running`: what an autoscaler reads.
    pub outstanding: u64,
}

/// A worker as it last reported itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerView {
    /// Its name.
    pub id: String,
    /// The stages it serves.
    pub stages: Vec<Stage>,
    /// How many steps it can do at once.
    pub slots: u32,
    /// How many it does.
    pub busy: u32,
    /// When it last reported.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub seen_at: Timestamp,
    /// When it first reported.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub started_at: Timestamp,
    /// What it does.
    pub tasks: Vec<TaskId>,
    /// Memory of all its browsers, in bytes.
    pub browser_memory_bytes: u64,
    /// When it was found silent, and how it ended; absent while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}
