//! What the api does beside answering: the sweep, the depth's history, and a look at Redis when it first answers.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use wpclone_queue::QueueError;

use crate::queue_history;
use crate::state::{App, SharedApp};

/// How often the queue is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Runs until the program is to end.
pub async fn run(app: SharedApp) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut redis = Redis::default();
    let mut noted: Option<Instant> = None;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        redis.saw(&app, sweep(&app).await).await;
        if !redis.failed && noted.is_none_or(|at| at.elapsed() >= queue_history::EVERY) {
            if let Ok(queue) = app.queue.stats().await {
                app.queue_history.note(&queue);
            }
            noted = Some(Instant::now());
        }
    }
}

/// Sweeps until nothing is left for now.
async fn sweep(app: &App) -> Result<(), QueueError> {
    while app.queue.sweep().await?.more && !app.shutdown.is_cancelled() {}
    Ok(())
}

/// What was last seen of Redis, so that the log tells a change and not each second the same.
#[derive(Default)]
struct Redis {
    failed: bool,
    looked_at: bool,
}

impl Redis {
    async fn saw(&mut self, app: &App, swept: Result<(), QueueError>) {
        match &swept {
            Ok(()) if self.failed => tracing::info!("Redis answers again"),
            Err(error) if !self.failed => {
                tracing::error!(%error, "the queue cannot be swept; trying on each second");
            }
            _ => {}
        }
        self.failed = swept.is_err();
        if self.failed || self.looked_at {
            return;
        }
        if let Ok(warnings) = app.queue.redis_warnings().await {
            self.looked_at = true;
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
    }
}
