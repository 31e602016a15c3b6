//! Being built.

mod types;

use tokio::sync::broadcast;
use wpclone_task::{Progress, Problem, QueueView, Stage, TaskId};

pub use types::*;

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {}

impl Queue {
    /// A queue on this Redis. Connects when first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(redis_url: &str, options: QueueOptions) -> Result<Self, QueueError> { let _ = (redis_url, options); todo!() }
    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &QueueOptions { todo!() }
    /// Whether Redis answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), QueueError> { todo!() }
    /// What an operator should know of this Redis: eviction policy, version, what it can lose. Empty when all is well.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn warnings(&self) -> Result<Vec<String>, QueueError> { todo!() }
    /// Accepts a task.
    ///
    /// # Errors
    /// Nothing was accepted.
    pub async fn enqueue(&self, task: &NewTask) -> Result<Enqueued, QueueError> { let _ = task; todo!() }
    /// A task.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn get(&self, id: TaskId) -> Result<Found, QueueError> { let _ = id; todo!() }
    /// A page of at most `limit` (capped at 100) tasks, newest first.
    ///
    /// # Errors
    /// A bad cursor, or Redis.
    pub async fn list(&self, filter: &Filter, cursor: Option<&str>, limit: u32) -> Result<Page, QueueError> { let _ = (filter, cursor, limit); todo!() }
    /// Ends a task for its owner.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn cancel(&self, id: TaskId) -> Result<Cancelled, QueueError> { let _ = id; todo!() }
    /// A task's events after this id (exclusive), oldest first, at most `limit`.
    ///
    /// # Errors
    /// A bad id, or Redis.
    pub async fn events(&self, id: TaskId, after: Option<&str>, limit: u32) -> Result<Vec<StoredEvent>, QueueError> { let _ = (id, after, limit); todo!() }
    /// Depths and workers.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn stats(&self) -> Result<QueueView, QueueError> { todo!() }
    /// Hears what changes. The connection behind it is shared by all receivers of this queue's clones.
    pub fn signals(&self) -> broadcast::Receiver<Signal> { todo!() }
    /// Takes the first step that is ready in one of these stages.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn claim(&self, worker: &str, stages: &[Stage]) -> Result<Option<Claim>, QueueError> { let _ = (worker, stages); todo!() }
    /// Extends a lease and stores progress (an event when it changed).
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn heartbeat(&self, lease: &Lease, progress: Option<&Progress>) -> Result<Beat, QueueError> { let _ = (lease, progress); todo!() }
    /// A step went well: the next phase becomes ready, or the task ends.
    ///
    /// # Errors
    /// The lease is lost, too large a result, or Redis.
    pub async fn complete(&self, lease: &Lease, output: &StepOutput) -> Result<Completed, QueueError> { let _ = (lease, output); todo!() }
    /// A step failed: it is tried again when its problem is worth it, else the task ends.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn fail(&self, lease: &Lease, problem: &Problem) -> Result<Failed, QueueError> { let _ = (lease, problem); todo!() }
    /// A step was stopped because its owner asked for the task's end.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn cancelled(&self, lease: &Lease) -> Result<(), QueueError> { let _ = lease; todo!() }
    /// Gives a step back to the front of its queue, at no cost in attempts.
    ///
    /// # Errors
    /// The lease is lost, or Redis.
    pub async fn release(&self, lease: &Lease) -> Result<(), QueueError> { let _ = lease; todo!() }
    /// Does what time has made due. Idempotent and bounded; everyone runs it each second.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn sweep(&self) -> Result<Swept, QueueError> { todo!() }
    /// A worker says that it lives.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn report(&self, worker: &WorkerReport) -> Result<(), QueueError> { let _ = worker; todo!() }
    /// A worker says that it goes.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn retire(&self, worker: &str) -> Result<(), QueueError> { let _ = worker; todo!() }
}
