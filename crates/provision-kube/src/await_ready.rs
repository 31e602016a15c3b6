//! Waits until a clone is ready.

use std::time::Duration;

use tokio::time::Instant;
use wpclone_provision::ProvisionError;

use crate::assessment::{Assessment, Waiting, assess};
use crate::cluster::Cluster;
use crate::wordpress_clone::Instance;

/// How often a clone is looked at when nothing is heard of it.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long the API server may not answer meanwhile.
const OUTAGE_LIMIT: Duration = Duration::from_secs(60);

impl Cluster {
    /// Waits until the clone of this very instance is ready as the instance is now. As long as the cluster goes on, as when it
    /// pulls an image, this waits; what does not go on is the failure that it is.
    pub(crate) async fn await_ready(&self, of: &Instance) -> Result<Instance, ProvisionError> {
        let (name, limits) = (&of.name, self.options.limits);
        let (begun, mut last_answer) = (Instant::now(), Instant::now());
        let mut since = None;
        loop {
            let seen = match self.observe(name).await {
                Ok(seen) => seen,
                Err(ProvisionError::Unavailable(why)) if last_answer.elapsed() < OUTAGE_LIMIT => {
                    tracing::debug!(clone = %name, why, "the cluster does not answer");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if seen.instance.uid() != of.uid() {
                return Err(ProvisionError::Gone(name.clone()));
            }
            last_answer = Instant::now();
            let waiting = match assess(&seen) {
                Assessment::Ready => return Ok(seen.instance),
                Assessment::Gone => return Err(ProvisionError::Gone(name.clone())),
                Assessment::Waiting(waiting) => waiting,
            };
            self.progress.report(name, &waiting.sentence());
            let began = match since {
                Some((kind, began)) if kind == waiting.kind() => began,
                _ => Instant::now(),
            };
            since = Some((waiting.kind(), began));
            let left = waiting.limit(&limits).checked_sub(began.elapsed()).filter(|left| !left.is_zero());
            let left = left.filter(|_| begun.elapsed() < limits.total);
            let Some(left) = left else { return Err(self.failure(waiting).await) };
            self.until_changed(&seen, left.min(POLL_INTERVAL)).await;
        }
    }

    /// The failure of a clone that waited too long. When kro did nothing, its definition may say why.
    async fn failure(&self, waiting: Waiting) -> ProvisionError {
        if matches!(waiting, Waiting::Parts)
            && let Err(error) = self.definition.check().await
        {
            return error;
        }
        waiting.into_error()
    }
}
