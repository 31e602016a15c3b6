//! What goes into the queue and what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wpclone_task::{
    CallbackView, Code, Event, Kind, Problem, Progress, SealedRequest, Stage, State, StepView, TaskId,
};

/// How a queue behaves. The defaults are `queue.md`'s.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// First part of every key, and its hash tag: queues of different names know nothing of each other.
    pub name: String,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How often a step is tried when its problem is worth another try.
    pub max_attempts: u32,
    /// How many crashes make a task poison.
    pub max_crashes: u32,
    /// First delay of a retry (full jitter up to it, doubled each time).
    pub backoff_base: Duration,
    /// The longest delay of a retry.
    pub backoff_cap: Duration,
    /// How long finished tasks are kept.
    pub keep_finished: Duration,
    /// How many bytes of finished tasks are kept at most.
    pub keep_finished_bytes: u64,
    /// How long an idempotency key is remembered.
    pub keep_idempotency: Duration,
    /// How long a result's secrets, and a dead-lettered task's, are kept.
    pub keep_secrets: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            name: "wpclone".into(),
            lease: Duration::from_secs(30),
            max_attempts: 3,
            max_crashes: 3,
            backoff_base: Duration::from_secs(2),
            backoff_cap: Duration::from_secs(60),
            keep_finished: Duration::from_secs(7 * DAY),
            keep_finished_bytes: 256 << 20,
            keep_idempotency: Duration::from_secs(DAY),
            keep_secrets: Duration::from_secs(DAY),
        }
    }
}

/// A task to be accepted.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Made by the caller, so that the secrets can be sealed for it.
    pub id: TaskId,
    /// What to do, without secrets.
    pub request: SealedRequest,
    /// The sealed secrets; opaque here.
    pub sealed_secrets: String,
    /// The token's name that it belongs to.
    pub owner: String,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Present when the client sent an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
    /// The sealed address that its end is told to; opaque here.
    pub sealed_callback: Option<String>,
    /// How much its owner may ask for.
    pub limits: Limits,
}

/// How much one owner may ask for. Settled by the function that accepts; a repeat by idempotency key costs nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tasks accepted a minute, replays among them. The whole of it may come at once.
    pub per_minute: Option<u32>,
    /// Unfinished tasks at once.
    pub concurrent: Option<u32>,
}

/// A limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// [`Limits::per_minute`]: another task would be accepted after this time.
    Rate(Duration),
    /// [`Limits::concurrent`].
    Concurrent,
}

/// What makes a repeated request the same one.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// Keyed hashes of the body, one per seal key, newest first. The first is stored; any matches.
    pub fingerprints: Vec<String>,
}

/// What became of a task that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// Accepted.
    New(TaskId),
    /// The same request had been accepted before, as this task.
    Same(TaskId),
    /// The idempotency key belongs to another body.
    Mismatch,
    /// Refused: its owner has asked for too much.
    Limited(Limited),
}

/// What became of the wish to do a failed task again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It is queued again, from the phase in which it failed, with its counters at 0.
    Queued,
    /// Its secrets are no longer kept: the wish must bring them.
    SecretsGone,
    /// Only a failed task is done again; this is its state.
    NotFailed(State),
    /// Refused: its owner has asked for too much.
    Limited(Limited),
    /// There was such a task, which is no longer kept.
    Gone,
    /// No such task.
    Unknown,
}

/// A task as it is stored.
#[derive(Debug, Clone)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Its kind.
    pub kind: Kind,
    /// The token's name that it belongs to.
    pub owner: String,
    /// Where it stands.
    pub state: State,
    /// Whether its owner wants it ended.
    pub cancel_requested: bool,
    /// How far it has come.
    pub progress: Progress,
    /// What to do.
    pub request: SealedRequest,
    /// Its steps in order.
    pub steps: Vec<StepView>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The result's public part.
    pub result: Option<Map<String, Value>>,
    /// The sealed parts of the result, while they are kept: each with the name of its step, in their order.
    pub sealed_results: Vec<(String, String)>,
    /// What it ended with.
    pub problem: Option<Problem>,
    /// Whether its secrets are still kept: a replay needs none then.
    pub secrets_kept: bool,
    /// How often it was replayed.
    pub replays: u32,
    /// How the call that tells its end stands; `None` when nobody is to be told, or it has not ended.
    pub callback: Option<CallbackView>,
    /// Grows with every change: the basis of an ETag.
    pub version: u64,
}

/// What is known of an id.
#[derive(Debug, Clone)]
pub enum Found {
    /// The task.
    Task(Box<TaskRecord>),
    /// There was one, which is no longer kept.
    Gone,
    /// There never was one that we remember.
    Unknown,
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this token's.
    pub owner: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only on sites whose key contains this text, or with an id that begins with it.
    pub search: Option<String>,
}

/// A page of tasks, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<TaskRecord>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// What became of the wish to end a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting and has ended.
    Now,
    /// A worker has it and will hear with its next heartbeat.
    Requested,
    /// It had ended before.
    Finished,
    /// No such task.
    Unknown,
}

/// The right to work on a step for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// The step's index in the task's plan, phases flattened.
    pub step: u32,
    /// The fencing token: higher than that of every claim before.
    pub token: u64,
    /// The worker that holds it.
    pub worker: String,
}

/// A step to be worked on.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The right to do it.
    pub lease: Lease,
    /// How long the lease lasts without a heartbeat.
    pub lease_for: Duration,
    /// The step's name.
    pub step: String,
    /// The step's stage.
    pub stage: Stage,
    /// What to do.
    pub request: SealedRequest,
    /// The sealed secrets of the request.
    pub sealed_secrets: Option<String>,
    /// The token's name that the task belongs to.
    pub owner: String,
    /// W3C trace context of the request that brought it.
    pub traceparent: Option<String>,
    /// Attempts at this step that failed before.
    pub attempts: u32,
    /// Workers that this step lost before.
    pub crashes: u32,
    /// When the task was accepted.
    pub created_at: Timestamp,
    /// How long the step had been ready before this claim.
    pub waited: Duration,
    /// How often the task was replayed.
    pub replays: u32,
    /// What the steps before left behind, by their names.
    pub outputs: BTreeMap<String, StepOutput>,
}

/// The end of a task, to be told to its owner's callback address. Its lease is kept and ended like that of a step.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The right to tell it; `lease.task` is the id of the message, the same for every attempt.
    pub lease: Lease,
    /// How long the lease lasts without a heartbeat.
    pub lease_for: Duration,
    /// The task that ended.
    pub task: TaskId,
    /// Its kind.
    pub kind: Kind,
    /// The state it ended in.
    pub state: State,
    /// The code of its problem.
    pub code: Option<Code>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The sealed address; opaque here.
    pub sealed_callback: String,
    /// W3C trace context of the request that brought the task.
    pub traceparent: Option<String>,
    /// Attempts at this delivery that failed before.
    pub attempts: u32,
    /// How long it had been ready before this claim.
    pub waited: Duration,
}

/// How a step that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often in all.
    pub attempts: u32,
    /// First delay (full jitter up to it, doubled each time).
    pub base: Duration,
    /// The longest delay.
    pub cap: Duration,
    /// No sooner than this.
    pub not_before: Duration,
}

/// What a heartbeat tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Whether the task's owner wants it ended.
    pub cancel: bool,
}

/// What a step that went well leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepOutput {
    /// The result's public part. Objects of later steps are laid over those of earlier ones ([`wpclone_task::lay_over`]).
    pub result: Map<String, Value>,
    /// The result's secrets, and what later steps need to know, sealed; opaque here.
    pub sealed: Option<String>,
}

/// What became of a task whose step went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// Other steps are under way or have become ready.
    Advanced,
    /// That was the last step.
    Finished,
}

/// What became of a task whose step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It will be tried again after this time.
    Retrying(Duration),
    /// It has ended.
    Dead,
    /// Its owner had asked for its end: it is cancelled.
    Cancelled,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Delayed steps made ready.
    pub promoted: u32,
    /// Leases that had run out.
    pub expired: u32,
    /// Of these, steps whose task ended as poison.
    pub poisoned: u32,
    /// Finished tasks forgotten.
    pub trimmed: u32,
    /// Whether a batch was full, so that another sweep should follow at once.
    pub more: bool,
}

/// What a worker says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its name, unique per process.
    pub id: String,
    /// The stages it serves.
    pub stages: Vec<Stage>,
    /// How many steps it can do at once.
    pub slots: u32,
    /// What it does.
    pub tasks: Vec<TaskId>,
    /// When it started.
    pub started_at: Timestamp,
    /// Memory of all its browsers, in bytes.
    pub browser_memory_bytes: u64,
}

/// An event and its id (`<ms>-<number>`), which is the id of its SSE event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its id.
    pub id: String,
    /// What happened.
    pub event: Event,
}

/// Something to look at, said by pub/sub. It may be lost: look again now and then without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// This stage has work.
    Work(Stage),
    /// This task, which belongs to this token's name, has changed.
    Task(TaskId, Arc<str>),
    /// The connection was away: look at everything.
    Reconnected,
}
