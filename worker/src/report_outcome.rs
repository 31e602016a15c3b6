//! Reporting the end of a step or a delivery to the queue.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use wpclone_queue::QueueError;
use wpclone_task::{Code, Problem};

/// How long a report is retried while Redis does not respond. By then the lease has expired.
const LIMIT: Duration = Duration::from_secs(20);
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Why the queue has not stored a report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// Another worker has the step now, or the response to an earlier try was lost.
    #[error("the lease expired before the end was reported, or the response to the report was lost")]
    LeaseLost,
    /// The queue does not accept this report, and would not later. The lease is still held.
    #[error("the queue rejected the report of the end: {0}")]
    Rejected(QueueError),
    /// Redis did not respond for as long as the lease can be valid.
    #[error("the end could not be reported to the queue; the lease will expire")]
    Unreachable,
}

/// Calls `report` until the queue answers, for as long as the lease can be valid.
pub(crate) async fn report_with_retry<T, F>(report: impl FnMut() -> F) -> Result<T, ReportError>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let retry = ConstantBuilder::default().with_delay(RETRY_DELAY).without_max_times();
    let reported = report
        .retry(retry)
        .when(|error| matches!(error, QueueError::Unavailable(_)))
        .notify(|error, _| tracing::warn!(%error, "retrying to report the end to the queue"));
    match tokio::time::timeout(LIMIT, reported).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(QueueError::LeaseLost)) => Err(ReportError::LeaseLost),
        Ok(Err(error)) => Err(ReportError::Rejected(error)),
        Err(_) => Err(ReportError::Unreachable),
    }
}

impl ReportError {
    /// The problem that a step or delivery fails with, so that it does not end by the expiry of its lease. `None` when
    /// the queue would not store it either.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let Self::Rejected(error) = self else { return None };
        match error {
            QueueError::TooLarge(what) => {
                let detail = format!("The queue accepts no report of this size: {what} is too large.");
                Some(Problem::new(Code::ResultTooLarge, detail))
            }
            // Nothing is written to a Redis of another layout.
            QueueError::OtherLayout(_) | QueueError::LeaseLost | QueueError::Unavailable(_) => None,
            QueueError::Unreadable | QueueError::Unexpected(_) | QueueError::BadCursor => Some(Problem::new(
                Code::WorkerFault,
                format!("The queue rejected the report of the step's end: {error}."),
            )),
        }
    }
}
