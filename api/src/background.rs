//! Background work of the API: sweeping the queue, sampling its depth, and checking Redis' configuration.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use wpclone_queue::QueueError;

use crate::queue_history::SAMPLE_INTERVAL;
use crate::state::{App, SharedApp};

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the program shuts down.
pub async fn run(app: SharedApp) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut redis = RedisStatus::default();
    let mut sampled_at: Option<Instant> = None;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        redis.update(&app, sweep(&app).await).await;
        if !redis.failed && sampled_at.is_none_or(|at| at.elapsed() >= SAMPLE_INTERVAL) {
            if let Ok(queue) = app.queue.stats().await {
                app.queue_history.record(&queue);
            }
            sampled_at = Some(Instant::now());
        }
    }
}

/// Sweeps until nothing is left to sweep.
async fn sweep(app: &App) -> Result<(), QueueError> {
    while app.queue.sweep().await?.more && !app.shutdown.is_cancelled() {}
    Ok(())
}

/// The last known status of Redis, so that the log has one line for each change.
#[derive(Default)]
struct RedisStatus {
    failed: bool,
    configuration_checked: bool,
}

impl RedisStatus {
    async fn update(&mut self, app: &App, swept: Result<(), QueueError>) {
        match &swept {
            Ok(()) if self.failed => tracing::info!("Redis responds again"),
            Err(error) if !self.failed => {
                tracing::error!(%error, "the queue cannot be swept; retrying every second");
            }
            _ => {}
        }
        self.failed = swept.is_err();
        if self.failed || self.configuration_checked {
            return;
        }
        if let Ok(warnings) = app.queue.redis_warnings().await {
            self.configuration_checked = true;
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
    }
}
