//! The queue's depth over the last hour, as this process saw it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use wpclone_task::{QueueView, Stage};

/// How often the depth is noted.
pub const EVERY: Duration = Duration::from_secs(60);
/// How many notes are kept: an hour's.
const KEPT: usize = 60;

/// The last hour's depths.
#[derive(Debug, Default)]
pub struct QueueHistory(Mutex<BTreeMap<Stage, VecDeque<u64>>>);

impl QueueHistory {
    /// Notes the depth of each stage.
    pub fn note(&self, queue: &QueueView) {
        let mut kept = self.0.lock();
        for (stage, depth) in &queue.stages {
            let line = kept.entry(*stage).or_default();
            line.push_back(depth.ready + depth.waiting_for_site + depth.delayed);
            if line.len() > KEPT {
                line.pop_front();
            }
        }
    }

    /// A stage's depths, oldest first.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Vec<u64> {
        let kept = self.0.lock();
        kept.get(&stage).map(|line| line.iter().copied().collect()).unwrap_or_default()
    }
}
