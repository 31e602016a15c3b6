//! Keeping a lease while its step is worked on, and stopping the work before the lease can be somebody else's.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use wpclone_queue::{Claim, HeartbeatReply, Queue, QueueError};

use crate::job::News;

/// News wait this long for more of them.
const TELL: Duration = Duration::from_millis(100);
/// After a heartbeat that failed, the next one comes this soon.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// Why the work was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The task's owner wants it.
    Cancelled,
    /// The lease is lost, or could not be renewed in time.
    Lost,
    /// The worker goes.
    Draining,
}

/// Renews the lease until `stop` is cancelled or there is a reason to cancel it; tells the reason. Work that has left traces
/// on a site may go on for `grace` when its owner wants it to stop, so that it ends with what it takes to put that right.
pub(crate) async fn keep(
    queue: Queue,
    claim: Claim,
    grace: Duration,
    mut news: watch::Receiver<News>,
    stop: CancellationToken,
    draining: CancellationToken,
) -> Option<Stop> {
    // A lease lasts three heartbeats; after two without an answer the work stops, and its browser with it.
    let (beat, patience) = (claim.lease_duration / 3, claim.lease_duration * 2 / 3);
    let (mut renewed, mut next, mut untold) = (Instant::now(), Instant::now() + beat, false);
    let (mut noted, mut end) = (None, None::<Instant>);
    let reason = loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = draining.cancelled() => break Stop::Draining,
            () = sleep_until(renewed + patience) => {
                tracing::warn!("the lease could not be renewed in time; the work stops");
                break Stop::Lost;
            }
            () = sleep_until(next) => {}
            Ok(()) = news.changed(), if !untold => {
                untold = true;
                next = next.min(Instant::now() + TELL);
                continue;
            }
        }
        let asked = Instant::now();
        let told = untold.then(|| news.borrow_and_update().clone());
        let telling = tell(&queue, &claim, told.as_ref(), &mut noted);
        next = asked + beat;
        match timeout_at(renewed + patience, telling).await {
            Ok(Ok(answer)) if answer.cancel_requested => {
                let grace = if news.borrow().left_traces { grace } else { Duration::ZERO };
                let end = *end.get_or_insert(asked + grace);
                if asked >= end {
                    break Stop::Cancelled;
                }
                (renewed, untold, next) = (asked, false, next.min(end));
            }
            Ok(Ok(_)) => (renewed, untold) = (asked, false),
            Ok(Err(QueueError::LeaseLost)) => {
                tracing::warn!("the lease is lost; the work stops");
                break Stop::Lost;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a heartbeat failed");
                next = asked + AFTER_FAULT;
            }
            Err(_) => tracing::warn!("a heartbeat was not answered"),
        }
    };
    stop.cancel();
    Some(reason)
}

/// One heartbeat, with the news if there are any. What was altered goes first: it must not be lost with us.
async fn tell(
    queue: &Queue,
    claim: &Claim,
    news: Option<&News>,
    noted: &mut Option<bool>,
) -> Result<HeartbeatReply, QueueError> {
    if let Some(changed) = news.and_then(|news| news.changed).filter(|changed| *noted != Some(*changed)) {
        queue.set_target_changed(&claim.lease, changed).await?;
        *noted = Some(changed);
    }
    queue.heartbeat(&claim.lease, news.map(|news| &news.progress)).await
}
