//! Ending a job that another client has begun.

use serde_json::json;

use crate::ClientError;
use crate::adaptive_batch::AdaptiveBatch;
use crate::client::{Client, StepResponse};
use crate::retry::with_retries;

/// The longest time that one request asks for, in milliseconds.
const BUDGET_MS: u32 = 5000;

/// A job on a target that was begun earlier, to be ended. Nothing is begun, and no other job is replaced: a job that the
/// target does not know has ended.
#[derive(Debug, Clone)]
pub struct EarlierJob {
    client: Client,
    job: String,
}

impl Client {
    /// The job of this name (32 hex digits).
    #[must_use]
    pub fn earlier_job(&self, job: &str) -> EarlierJob {
        EarlierJob { client: self.clone(), job: job.to_owned() }
    }
}

impl EarlierJob {
    /// Restores the target's former content, whatever the phase of the job, and ends the job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn roll_back(&self) -> Result<(), ClientError> {
        match self.until_done("rollback").await {
            Ok(()) => {}
            // Nothing of it is live, or its end has begun.
            Err(ClientError::Migrator { status: 400, .. }) => {}
            Err(error) => return unless_ended(error),
        }
        self.until_done("abort").await.or_else(unless_ended)
    }

    /// Deletes what the target had before a swap, and ends the job. One that was not swapped is aborted.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn commit(&self) -> Result<(), ClientError> {
        match self.until_done("commit").await {
            Err(ClientError::Migrator { status: 400, .. }) => {
                self.until_done("abort").await.or_else(unless_ended)
            }
            done => done.or_else(unless_ended),
        }
    }

    async fn until_done(&self, route: &str) -> Result<(), ClientError> {
        let body = &json!({"job": self.job, "ms": BUDGET_MS});
        loop {
            let mut batch = AdaptiveBatch::new(BUDGET_MS);
            let attempt = |_| async move { Ok((self.client.post_json(route, body, true).await?, 0)) };
            let StepResponse { done } = with_retries(&mut batch, attempt).await?;
            if done {
                return Ok(());
            }
        }
    }
}

/// A job that has ended is unknown.
fn unless_ended(error: ClientError) -> Result<(), ClientError> {
    if error.code() == Some("job_not_found") { Ok(()) } else { Err(error) }
}
