//! Telling the queue how something ended.

use std::time::Duration;

use wpclone_queue::QueueError;

/// How long the end is told to a Redis that does not answer. Longer than its lease it would be in vain.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// Tells the queue until it has heard, or the lease has ended anyway; what the queue said, if it was told.
pub(crate) async fn until_told<T, F>(tell: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let telling = async {
        loop {
            match tell().await {
                Ok(told) => return Some(told),
                Err(QueueError::Unavailable(error)) => {
                    tracing::warn!(error, "the end could not be told to the queue yet");
                }
                Err(QueueError::LeaseLost) => {
                    tracing::warn!(
                        "the lease was over before the end could be told, or it was told unanswered"
                    );
                    return None;
                }
                Err(error) => {
                    tracing::error!(%error, "the queue did not take the end");
                    return None;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(LIMIT, telling).await.unwrap_or_else(|_| {
        tracing::error!("the end could not be told to the queue; the lease will run out");
        None
    })
}
