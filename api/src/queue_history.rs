//! The queue's depth over the last hour, as this process saw it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use wpclone_task::{QueueView, Stage};

/// How often the depth is sampled.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(60);
/// How many samples are kept: an hour's.
const MAX_SAMPLES: usize = 60;

/// Samples of each stage's waiting steps.
#[derive(Debug, Default)]
pub struct QueueHistory(Mutex<BTreeMap<Stage, VecDeque<u64>>>);

impl QueueHistory {
    /// Adds a sample of each stage.
    pub fn record(&self, queue: &QueueView) {
        let mut samples = self.0.lock();
        for (stage, depth) in &queue.stages {
            let stage = samples.entry(*stage).or_default();
            stage.push_back(depth.ready + depth.waiting_for_site + depth.delayed);
            if stage.len() > MAX_SAMPLES {
                stage.pop_front();
            }
        }
    }

    /// A stage's samples, oldest first.
    #[must_use]
    pub fn samples(&self, stage: Stage) -> Vec<u64> {
        self.0.lock().get(&stage).map(|samples| samples.iter().copied().collect()).unwrap_or_default()
    }
}
