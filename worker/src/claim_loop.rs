//! Claims as much work as there are slots, woken by signals of the queue.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use wpclone_queue::{ClaimAttempt, Queue, QueueError, Signal};
use wpclone_task::Stage;

use crate::slots::{Slot, Slots};

/// The longest wait between two claims: a signal may be lost. Each wait is between half of it and all of it.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Claims work of these stages and starts it, each in a slot of its own, until `shutdown`. Passes over an owner that may not
/// have another slot; `start` tells the slot its owner before it returns. A claim that Redis did not answer is made again as
/// the same attempt: it may have been executed.
pub(crate) async fn claim_loop<T>(
    shutdown: &CancellationToken,
    queue: &Queue,
    stages: &[Stage],
    slots: Slots,
    claim: impl AsyncFn(&ClaimAttempt) -> Result<Option<T>, QueueError>,
    start: impl Fn(T, Slot),
) {
    // Subscribed before the first claim, so that no signal is missed in between.
    let mut signals = queue.subscribe_ready();
    let mut unanswered = None;
    loop {
        let slot = tokio::select! {
            () = shutdown.cancelled() => return,
            slot = slots.acquire() => slot,
        };
        let Ok(slot) = slot else { return };
        let attempt = unanswered.take().unwrap_or_else(|| ClaimAttempt::passing_over(slots.owner_at_limit()));
        match claim(&attempt).await {
            Ok(Some(claimed)) => start(claimed, slot),
            Ok(None) => {
                drop(slot);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = work_signal(&mut signals, stages) => {}
                    () = slots.freed() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "claiming failed");
                if matches!(error, QueueError::Unavailable(_)) {
                    unanswered = Some(attempt);
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(jittered(POLL_INTERVAL)) => {}
                }
            }
        }
    }
}

/// Waits for a signal that one of these stages has work, or for the poll interval.
async fn work_signal(signals: &mut broadcast::Receiver<Signal>, stages: &[Stage]) {
    let signalled = async {
        loop {
            match signals.recv().await {
                Ok(Signal::StageReady(stage)) if stages.contains(&stage) => return,
                Ok(Signal::Reconnected) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    };
    let _ = tokio::time::timeout(jittered(POLL_INTERVAL), signalled).await;
}

/// Between half of a time and all of it, so that workers do not poll at the same moment.
fn jittered(time: Duration) -> Duration {
    let mut byte = [0u8];
    let _ = getrandom::fill(&mut byte);
    time / 2 + time / 2 * u32::from(byte[0]) / 255
}

#[cfg(test)]
mod tests;
