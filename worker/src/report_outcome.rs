//! Reporting the end of a step or a delivery to the queue.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use wpclone_queue::QueueError;

/// How long a report is retried while Redis does not respond. By then the lease has expired.
const LIMIT: Duration = Duration::from_secs(20);
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Calls `report` until the queue answers, for as long as the lease can be valid. `None` when the queue could not be
/// reached or rejected the report.
pub(crate) async fn report_with_retry<T, F>(report: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let retry = ConstantBuilder::default().with_delay(RETRY_DELAY).without_max_times();
    let reported = report
        .retry(retry)
        .when(|error| matches!(error, QueueError::Unavailable(_)))
        .notify(|error, _| tracing::warn!(%error, "retrying to report the end to the queue"));
    match tokio::time::timeout(LIMIT, reported).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(QueueError::LeaseLost)) => {
            tracing::warn!(
                "the lease expired before the end was reported, or the response to the report was lost"
            );
            None
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the queue rejected the report of the end");
            None
        }
        Err(_) => {
            tracing::error!("the end could not be reported to the queue; the lease will expire");
            None
        }
    }
}
