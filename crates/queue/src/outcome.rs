//! What the calls of a queue return.

use std::time::Duration;

use wpclone_task::{State, TaskId};

/// A limit that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    /// [`OwnerLimits::per_minute`](crate::OwnerLimits::per_minute). The next task is accepted after this time.
    Rate(Duration),
    /// [`OwnerLimits::concurrent`](crate::OwnerLimits::concurrent).
    Concurrency,
}

/// The outcome of [`Queue::enqueue`](crate::Queue::enqueue).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnqueueOutcome {
    /// The task was accepted.
    Accepted(TaskId),
    /// The same request was accepted before, as this task.
    Duplicate(TaskId),
    /// The idempotency key was used with another request body.
    FingerprintMismatch,
    /// A limit of the owner was exceeded.
    Limited(LimitExceeded),
}

/// The outcome of [`Queue::replay`](crate::Queue::replay).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// The task is queued again, from the phase in which it failed, with its counters at 0.
    Queued,
    /// The task's secrets are no longer kept; the call must bring them.
    SecretsGone,
    /// Only a failed task can be replayed; this is its state.
    NotFailed(State),
    /// A limit of the owner was exceeded.
    Limited(LimitExceeded),
    /// The task existed; its record was deleted when its retention was over.
    Gone,
    /// No task with this id is known.
    NotFound,
}

/// The outcome of [`Queue::cancel`](crate::Queue::cancel).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The task was waiting and is now cancelled.
    Cancelled,
    /// A worker has a step of the task; the next heartbeat asks it to stop.
    Requested,
    /// The task was finished already.
    AlreadyFinished,
    /// No task with this id is known.
    NotFound,
}

/// The reply to [`Queue::heartbeat`](crate::Queue::heartbeat).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// Whether the step should be stopped: its task is being cancelled, or another step failed.
    pub cancel_requested: bool,
}

/// The outcome of [`Queue::complete`](crate::Queue::complete).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompleteOutcome {
    /// Other steps of the task are running or have become ready.
    Advanced,
    /// It was the last step: the task has ended.
    Finished,
}

/// The outcome of [`Queue::fail`](crate::Queue::fail).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOutcome {
    /// The step will be retried after this time.
    Retrying(Duration),
    /// The step has failed for good, and its task with it unless the step is optional.
    DeadLettered,
    /// Cancellation had been requested: the task is cancelled.
    Cancelled,
}

/// What [`Queue::sweep`](crate::Queue::sweep) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Delayed steps that became ready.
    pub promoted: u32,
    /// Leases that had expired.
    pub expired: u32,
    /// How many of those steps ended their task as `POISON`.
    pub poisoned: u32,
    /// Finished tasks whose records were deleted.
    pub trimmed: u32,
    /// Whether a batch was full, so that another sweep should follow at once.
    pub more: bool,
}
