//! Tasks, claims and events as the queue takes and returns them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wpclone_task::{
    CallbackView, Code, Event, Kind, Problem, Progress, SiteKey, Stage, StageSlots, State, StepView,
    StoredRequest, TaskId,
};

use crate::OwnerLimits;

/// A task to enqueue.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The id, chosen by the caller because secrets are sealed for it.
    pub id: TaskId,
    /// The request without its secrets.
    pub request: StoredRequest,
    /// The sealed secrets of the request. Opaque to the queue.
    pub sealed_secrets: String,
    /// The owner (token name).
    pub owner: String,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Present when the client sent an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
    /// The sealed callback address. Opaque to the queue.
    pub sealed_callback: Option<String>,
    /// The owner's limits.
    pub limits: OwnerLimits,
    /// Whether there are other owners. Then workers keep a part of their slots free of this owner's transfers and callbacks, and
    /// a part of their places for clones free of its clones.
    pub shares_slots: bool,
    /// Tasks with the same key may read a source at the same time ([`StoredRequest::read_site`]); it has no `~` and no space.
    /// `None` for a task that has its source for itself.
    pub share_key: Option<String>,
}

impl NewTask {
    /// A task without what is optional, and without limits.
    #[must_use]
    pub fn new(request: StoredRequest, sealed_secrets: String, owner: String) -> Self {
        Self {
            id: TaskId::new(),
            request,
            sealed_secrets,
            owner,
            traceparent: None,
            idempotency: None,
            sealed_callback: None,
            limits: OwnerLimits::default(),
            shares_slots: false,
            share_key: None,
        }
    }
}

/// The lock of a site that a task takes. In order, the lock that is not shared comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteLock {
    /// The site.
    pub site: SiteKey,
    /// The key by which it is shared with other tasks; `None` for a task that has it alone.
    pub share_key: Option<String>,
}

impl From<SiteKey> for SiteLock {
    fn from(site: SiteKey) -> Self {
        Self { site, share_key: None }
    }
}

/// What identifies a repeated request.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// Keyed hashes of the body, one per seal key, newest first. The first is stored; any of them may match.
    pub fingerprints: Vec<String>,
}

/// A task as it is stored.
#[derive(Debug, Clone)]
pub struct TaskRecord {
    /// The id.
    pub id: TaskId,
    /// The kind.
    pub kind: Kind,
    /// The owner (token name).
    pub owner: String,
    /// The state.
    pub state: State,
    /// Whether the owner asked to cancel it.
    pub cancel_requested: bool,
    /// The progress.
    pub progress: Progress,
    /// The request without its secrets.
    pub request: StoredRequest,
    /// The steps in order.
    pub steps: Vec<StepView>,
    /// When the task was accepted.
    pub created_at: Timestamp,
    /// When a worker first claimed a step.
    pub started_at: Option<Timestamp>,
    /// When the task ended.
    pub finished_at: Option<Timestamp>,
    /// The public part of the result.
    pub result: Option<Map<String, Value>>,
    /// The sealed parts of the result while they are kept, in the order of the steps: step name and seal.
    pub sealed_results: Vec<(String, String)>,
    /// The problem of a failed task.
    pub problem: Option<Problem>,
    /// Whether the request's secrets are still kept, so that a replay need not bring them.
    pub secrets_kept: bool,
    /// How often the task was replayed.
    pub replays: u32,
    /// The state of the callback; `None` without a callback address and before the task has ended.
    pub callback: Option<CallbackView>,
    /// Grows with every change of the record: the basis of an ETag.
    pub revision: u64,
}

/// What is stored under a task id.
#[derive(Debug, Clone)]
pub enum TaskLookup {
    /// The task.
    Found(Box<TaskRecord>),
    /// The task existed; its record was deleted when its retention was over.
    Gone,
    /// No task with this id is known.
    NotFound,
    /// The task exists, but this version of the program cannot read its record (another record version, an unknown
    /// field or variant, or corrupt data). Treat it as unfinished: nothing that belongs to it may be deleted.
    Unreadable,
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only tasks of this owner.
    pub owner: Option<String>,
    /// Only tasks in this state.
    pub state: Option<State>,
    /// Only tasks of this kind.
    pub kind: Option<Kind>,
    /// Only tasks on a site whose key contains this text, or whose id begins with it.
    pub search: Option<String>,
}

/// A page of tasks, newest first.
#[derive(Debug, Clone)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskRecord>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// The right to work on a step until the lease expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// The step's index in the task's plan, phases flattened.
    pub step: u32,
    /// The fencing token: higher than that of every earlier claim.
    pub token: u64,
    /// The worker that holds the lease.
    pub worker: String,
}

/// A claimed step.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The lease on the step.
    pub lease: Lease,
    /// How long the lease lasts without a heartbeat.
    pub lease_duration: Duration,
    /// The step's name.
    pub step: String,
    /// The step's stage.
    pub stage: Stage,
    /// The request without its secrets.
    pub request: StoredRequest,
    /// The sealed secrets of the request.
    pub sealed_secrets: Option<String>,
    /// The task's owner (token name).
    pub owner: String,
    /// [`NewTask::shares_slots`].
    pub shares_slots: bool,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Earlier attempts at this step that failed.
    pub attempts: u32,
    /// Earlier leases of this step that expired.
    pub crashes: u32,
    /// When the task was accepted.
    pub created_at: Timestamp,
    /// How long the step had been ready before this claim.
    pub waited: Duration,
    /// How often the task was replayed.
    pub replays: u32,
    /// The outputs of earlier steps, by step name.
    pub outputs: BTreeMap<String, StoredOutput>,
    /// What earlier attempts and runs of the task remember ([`Queue::set_checkpoint`]).
    pub checkpoints: BTreeMap<String, String>,
    /// The sealed session that an earlier attempt at this step has kept ([`Queue::keep_session`](crate::Queue::keep_session)).
    pub kept_session: Option<String>,
    /// In the task's first phase, when it reads its source beside other tasks: what the first of them has stored
    /// ([`Queue::share_site`](crate::Queue::share_site)).
    pub shared: Option<String>,
}

/// A claimed callback: the end of a task, to be reported to its callback address. Its lease is used like that of a step.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The lease; `lease.task` is the message id, which is the same for every attempt.
    pub lease: Lease,
    /// How long the lease lasts without a heartbeat.
    pub lease_duration: Duration,
    /// The task that ended.
    pub task: TaskId,
    /// The task's owner (token name).
    pub owner: String,
    /// [`NewTask::shares_slots`].
    pub shares_slots: bool,
    /// The task's kind.
    pub kind: Kind,
    /// The state it ended in.
    pub state: State,
    /// The code of its problem.
    pub code: Option<Code>,
    /// When the task was accepted.
    pub created_at: Timestamp,
    /// When the task ended.
    pub finished_at: Timestamp,
    /// The sealed callback address. Opaque to the queue.
    pub sealed_callback: String,
    /// W3C trace context of the task's request.
    pub traceparent: Option<String>,
    /// Earlier attempts at this delivery that failed.
    pub attempts: u32,
    /// How long the delivery had been ready before this claim.
    pub waited: Duration,
}

/// The output of a completed step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredOutput {
    /// The public part of the result. Later steps' objects are merged over earlier ones ([`wpclone_task::merge_output`]).
    pub result: Map<String, Value>,
    /// The sealed part: secrets of the result, and data for later steps. Opaque to the queue.
    pub sealed: Option<String>,
}

/// A worker's report about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The worker's id, unique per process.
    pub id: String,
    /// The stages it serves, with its slots for each.
    pub stages: BTreeMap<Stage, StageSlots>,
    /// The tasks it is working on, each once.
    pub tasks: Vec<TaskId>,
    /// When it started. Stored in milliseconds.
    pub started_at: Timestamp,
    /// Memory of all its browsers, in bytes.
    pub browser_memory_bytes: u64,
    /// The stages that it is set to serve and cannot serve now, and why.
    #[serde(default)]
    pub unavailable: BTreeMap<Stage, String>,
}

/// An event and its id (`<ms>-<number>`), which is also the id of its SSE event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The id.
    pub id: String,
    /// The event.
    pub event: Event,
}

/// A pub/sub signal. Signals may be lost, so look for changes now and then without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A step of this stage has become ready.
    StageReady(Stage),
    /// This task of this owner has changed.
    TaskChanged(TaskId, Arc<str>),
    /// The connection was lost and is back: signals may have been missed.
    Reconnected,
}
