//! Stores in the queue what a running step remembers or would leave behind, again while Redis cannot be reached.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use wpclone_queue::QueueError;

const RETRIES: usize = 10;
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Calls the queue until it answers, for some five seconds.
///
/// # Errors
/// The queue's answer, or that it could not be reached.
pub(crate) async fn store_with_retry<T, F>(store: impl FnMut() -> F) -> Result<T, QueueError>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let retry = ConstantBuilder::default().with_delay(RETRY_DELAY).with_max_times(RETRIES);
    store.retry(retry).when(|error| matches!(error, QueueError::Unavailable(_))).await
}
