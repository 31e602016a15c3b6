//! Confirms a claim, renews its lease while the step runs, and stops the step before another worker can get the lease.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use wpclone_queue::{Claim, HeartbeatReply, Lease, Queue, QueueError};

use crate::job::StepUpdate;

/// Updates are collected for this long before a heartbeat reports them.
const COLLECT: Duration = Duration::from_millis(100);
/// The delay before the next heartbeat after one that failed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a step has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The task's owner cancels it.
    Cancelled,
    /// The lease is lost, or could not be renewed in time.
    LeaseLost,
    /// The worker shuts down.
    Shutdown,
}

/// What tells a running step to stop.
pub(crate) struct StopTokens {
    pub(crate) stop: CancellationToken,
    /// Cancelled first when the task's owner cancels it.
    pub(crate) is_cancelled: CancellationToken,
}

/// Confirms a claim, before anything is done for it: from now on the loss of this worker is a crash of the step. Retries
/// until the lease is about to expire.
///
/// # Errors
/// The lease is lost, or Redis does not respond; nothing may be begun then.
pub(crate) async fn confirm(
    queue: &Queue,
    lease: &Lease,
    lease_duration: Duration,
) -> Result<HeartbeatReply, QueueError> {
    let retry = ConstantBuilder::default().with_delay(RETRY_DELAY).without_max_times();
    let confirmed = || queue.heartbeat(lease, None);
    let confirmed = confirmed.retry(retry).when(|error| matches!(error, QueueError::Unavailable(_)));
    let late = |_| QueueError::Unavailable("the claim was not confirmed in time".to_owned());
    timeout(lease_duration * 2 / 3, confirmed).await.map_err(late).flatten()
}

/// Renews the lease until `tokens.stop` is cancelled, or cancels it and returns the reason. After a cancel by the task's
/// owner, a step that has left traces on a site may go on for `grace`, so that it ends with what it takes to remove them.
pub(crate) async fn keep(
    queue: Queue,
    claim: Claim,
    grace: Duration,
    mut updates: watch::Receiver<StepUpdate>,
    tokens: StopTokens,
    shutdown: CancellationToken,
) -> Option<StopReason> {
    let StopTokens { stop, is_cancelled } = tokens;
    // A lease lasts three heartbeats; after two without an answer the step stops, and its browser with it.
    let (interval, limit) = (claim.lease_duration / 3, claim.lease_duration * 2 / 3);
    let (mut renewed, mut next, mut pending) = (Instant::now(), Instant::now() + interval, false);
    let (mut recorded, mut grace_end) = (None, None::<Instant>);
    let reason = loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = shutdown.cancelled() => break StopReason::Shutdown,
            () = sleep_until(renewed + limit) => {
                tracing::warn!("the lease could not be renewed in time; the step stops");
                break StopReason::LeaseLost;
            }
            () = sleep_until(next) => {}
            Ok(()) = updates.changed(), if !pending => {
                pending = true;
                next = next.min(Instant::now() + COLLECT);
                continue;
            }
        }
        let sent = Instant::now();
        let update = pending.then(|| updates.borrow_and_update().clone());
        let beat = heartbeat(&queue, &claim, update.as_ref(), &mut recorded);
        next = sent + interval;
        match timeout_at(renewed + limit, beat).await {
            Ok(Ok(reply)) if reply.cancel_requested => {
                let grace = if updates.borrow().left_traces { grace } else { Duration::ZERO };
                let end = *grace_end.get_or_insert(sent + grace);
                if sent >= end {
                    break StopReason::Cancelled;
                }
                (renewed, pending, next) = (sent, false, next.min(end));
            }
            Ok(Ok(_)) => (renewed, pending) = (sent, false),
            Ok(Err(QueueError::LeaseLost)) => {
                tracing::warn!("the lease is lost; the step stops");
                break StopReason::LeaseLost;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a heartbeat failed");
                next = sent + RETRY_DELAY;
            }
            Err(_) => tracing::warn!("a heartbeat got no response"),
        }
    };
    if reason == StopReason::Cancelled {
        is_cancelled.cancel();
    }
    stop.cancel();
    Some(reason)
}

/// Sends one heartbeat. A change of the target is recorded first: it must not be lost with this worker.
async fn heartbeat(
    queue: &Queue,
    claim: &Claim,
    update: Option<&StepUpdate>,
    recorded: &mut Option<bool>,
) -> Result<HeartbeatReply, QueueError> {
    let changed = update.and_then(|update| update.changed);
    if let Some(changed) = changed.filter(|changed| *recorded != Some(*changed)) {
        queue.set_target_changed(&claim.lease, changed).await?;
        *recorded = Some(changed);
    }
    queue.heartbeat(&claim.lease, update.map(|update| &update.progress)).await
}
