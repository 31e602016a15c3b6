//! Keeping a lease while its step is worked on, and stopping the work before the lease can be somebody else's.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use wpclone_queue::{Claim, Queue, QueueError};

use crate::browser::News;

/// News are told at most this often.
const TELL: Duration = Duration::from_millis(250);

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

/// Renews the lease until `stop` is cancelled or there is a reason to cancel it; tells the reason.
pub(crate) async fn keep(
    queue: &Queue,
    claim: &Claim,
    mut news: watch::Receiver<News>,
    stop: &CancellationToken,
    draining: &CancellationToken,
) -> Option<Stop> {
    // A lease lasts three heartbeats; after two without an answer the work stops, and its browser with it.
    let (beat, patience) = (claim.lease_for / 3, claim.lease_for * 2 / 3);
    let (mut renewed, mut noted) = (Instant::now(), None);
    let mut beats = interval(beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats.tick().await;
    let reason = loop {
        let mut told = None;
        tokio::select! {
            () = stop.cancelled() => return None,
            () = draining.cancelled() => break Stop::Draining,
            () = sleep_until(renewed + patience) => {
                tracing::warn!("the lease could not be renewed in time; the work stops");
                break Stop::Lost;
            }
            _ = beats.tick() => {}
            Ok(()) = news.changed() => told = Some(news.borrow_and_update().clone()),
        }
        let asked = Instant::now();
        let telling = async {
            if let Some(changed) = told
                .as_ref()
                .and_then(|news| news.changed)
                .filter(|c| noted != Some(*c))
            {
                queue.changed(&claim.lease, changed).await?;
                noted = Some(changed);
            }
            queue
                .heartbeat(&claim.lease, told.as_ref().map(|news| &news.progress))
                .await
        };
        match tokio::time::timeout_at(renewed + patience, telling).await {
            Ok(Ok(answer)) if answer.cancel => break Stop::Cancelled,
            Ok(Ok(_)) => renewed = asked,
            Ok(Err(QueueError::LeaseLost)) => {
                tracing::warn!("the lease is lost; the work stops");
                break Stop::Lost;
            }
            Ok(Err(error)) => tracing::warn!(%error, "a heartbeat failed"),
            Err(_) => tracing::warn!("a heartbeat was not answered"),
        }
        if told.is_some() {
            tokio::select! { () = stop.cancelled() => return None, () = tokio::time::sleep(TELL) => {} }
        }
    };
    stop.cancel();
    Some(reason)
}
