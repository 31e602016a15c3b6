//! Retries of requests that failed for a transient reason.

use std::time::Duration;

use crate::ClientError;
use crate::adaptive_batch::{AdaptiveBatch, Budget};

/// Attempts per request, the first one included.
const MAX_ATTEMPTS: u32 = 6;

/// The wait before the second attempt; it doubles before each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// Calls `attempt` until it succeeds, fails for a reason that is not transient, or [`MAX_ATTEMPTS`] is reached. `attempt`
/// returns how many bytes it moved; `batch` learns from every outcome.
///
/// # Errors
/// The error of the last attempt.
pub(crate) async fn with_retries<T, F>(
    batch: &mut AdaptiveBatch,
    mut attempt: impl FnMut(Budget) -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<(T, usize), ClientError>>,
{
    let mut backoff = FIRST_BACKOFF;
    for attempts_left in (0..MAX_ATTEMPTS).rev() {
        let started = tokio::time::Instant::now();
        match attempt(batch.budget()).await {
            Ok((response, bytes)) => {
                batch.record_success(bytes, started.elapsed());
                return Ok(response);
            }
            Err(error) if attempts_left > 0 && error.is_transient() => {
                tracing::debug!(%error, attempts_left, "request failed, retrying");
                let too_large = matches!(
                    error,
                    ClientError::UnexpectedContent { status: 413 }
                        | ClientError::Unverified { status: 413, .. }
                );
                if error.code() != Some("busy") {
                    batch.record_failure(too_large);
                }
                tokio::time::sleep(backoff).await;
                backoff *= 2;
            }
            Err(error) => return Err(error),
        }
    }
    Err(ClientError::Timeout)
}
