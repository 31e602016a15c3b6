//! Conditions that come true some time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition may take to come true, on a machine that has much else to do.
pub const WAIT_LIMIT: Duration = Duration::from_secs(180);

/// Asks until there is an answer.
///
/// # Errors
/// There is none after [`WAIT_LIMIT`], or the question itself failed for so long; the last failure is named.
pub async fn wait_until<T>(what: &str, ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    wait_until_within(WAIT_LIMIT, what, ask).await
}

/// The same, of a condition that may take longer or must not take so long.
///
/// # Errors
/// As [`wait_until`], after that time.
pub async fn wait_until_within<T>(
    limit: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        let answer = ask().await;
        if let Ok(Some(answer)) = answer {
            return Ok(answer);
        }
        if began.elapsed() >= limit {
            match answer {
                Err(error) => bail!("waited {limit:?} in vain for {what}: {error:#}"),
                Ok(_) => bail!("waited {limit:?} in vain for {what}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
