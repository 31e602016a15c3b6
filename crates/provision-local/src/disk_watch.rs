//! Stops clones that take more of the disk than they may, and, when the disk is about to be full, the one that fills it.
//! Nothing is deleted.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wpclone_beneath::Usage;
use wpclone_provision::{CloneName, CloneProblem, CloneProblemKind, Phase};

use crate::blocking::run_blocking;
use crate::disk_pressure::{DiskPressure, Pressure, Scarce};
use crate::disk_usage::{CloneUse, FreeSpace, measure};
use crate::engine::LocalEngine;
use crate::local_clone::LocalClone;

/// How often the free space is looked at, and how often when something is scarce or soon could be.
const INTERVAL: Duration = Duration::from_secs(1);
const URGENT_INTERVAL: Duration = Duration::from_millis(100);
/// Less than this before something is scarce is soon: a fast disk takes some seconds for it.
const SOON: Usage = Usage { bytes: 8 << 30, files: 500_000 };
/// How often clones are measured while nothing happens, and while something is scarce but does not get less.
const QUIET_MEASUREMENT_INTERVAL: Duration = Duration::from_secs(600);
const SCARCE_MEASUREMENT_INTERVAL: Duration = Duration::from_secs(30);
/// How old the measurement at least is that growth is counted from.
const BASELINE_AGE: Duration = Duration::from_secs(60);
/// A clone that grew less does not fill the disk.
const MIN_GROWTH: Usage = Usage { bytes: 4 << 20, files: 500 };
/// A smaller fall of the free space is no reason to measure.
const MIN_FALL: Usage = Usage { bytes: 64 << 20, files: 5_000 };
/// How often an operator is told that the disk is nearly full.
const LOG_INTERVAL: Duration = Duration::from_secs(600);

/// Watches the disk of the state folder; never returns.
pub(crate) async fn run(engine: &Arc<LocalEngine>) {
    let mut watch = DiskWatch::new(engine);
    loop {
        let pause = match watch.check().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "the free space of the disk cannot be determined");
                QUIET_MEASUREMENT_INTERVAL.min(Duration::from_secs(60))
            }
        };
        sleep(pause).await;
    }
}

struct DiskWatch<'a> {
    engine: &'a Arc<LocalEngine>,
    pressure: DiskPressure,
    /// What clones took at the last measurement, and what was left of the disk.
    last: Measurement,
    /// What they took when growth began to be counted.
    baseline: Measurement,
    logged_at: Option<Instant>,
}

#[derive(Clone, Default)]
struct Measurement {
    at: Option<Instant>,
    clones: BTreeMap<CloneName, CloneUse>,
    left: Usage,
    free: Usage,
}

impl Measurement {
    fn is_older_than(&self, age: Duration) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= age)
    }
}

impl<'a> DiskWatch<'a> {
    fn new(engine: &'a Arc<LocalEngine>) -> Self {
        Self {
            engine,
            pressure: DiskPressure::new(engine.host.disk),
            last: Measurement::default(),
            baseline: Measurement::default(),
            logged_at: None,
        }
    }

    fn limit(&self) -> Usage {
        self.engine.host.disk.clone_limit()
    }

    /// Looks at the disk once; returns when to look again.
    async fn check(&mut self) -> io::Result<Duration> {
        let root = self.engine.host.state_dir.root().to_owned();
        let free = run_blocking(move || FreeSpace::of(&root)).await?;
        let pressure = self.pressure.observe(std::time::Instant::now(), free);
        let free = Usage { bytes: free.bytes, files: free.files.map_or(0, |(files, _)| files) };
        if self.is_measurement_due(pressure) {
            self.measure(pressure, free).await;
            self.stop_clones_over_limit().await;
        }
        // A fall counts from the most that was free.
        self.last.left.bytes = self.last.left.bytes.max(pressure.left.bytes);
        self.last.left.files = self.last.left.files.max(pressure.left.files);
        if let Some(scarce) = pressure.scarce {
            self.relieve(pressure, scarce).await;
        }
        let is_soon = pressure.left.bytes < SOON.bytes || pressure.left.files < SOON.files;
        Ok(if is_soon { URGENT_INTERVAL } else { INTERVAL })
    }

    /// Clones are measured now and then, and whenever the free space has fallen by a part of what is left or of what a clone
    /// may take.
    fn is_measurement_due(&self, pressure: Pressure) -> bool {
        if self.last.is_older_than(QUIET_MEASUREMENT_INTERVAL) {
            return true;
        }
        if pressure.scarce.is_some() {
            return pressure.is_falling || self.last.is_older_than(SCARCE_MEASUREMENT_INTERVAL);
        }
        let has_fallen = |before: u64, left: u64, limit: u64, min: u64| {
            before.saturating_sub(left) >= (before / 4).min(limit / 4).max(min)
        };
        let (before, left, limit) = (self.last.left, pressure.left, self.limit());
        has_fallen(before.bytes, left.bytes, limit.bytes, MIN_FALL.bytes)
            || has_fallen(before.files, left.files, limit.files, MIN_FALL.files)
    }

    async fn measure(&mut self, pressure: Pressure, free: Usage) {
        let host = &self.engine.host;
        let is_quiet = pressure.scarce.is_none() && self.last.is_older_than(QUIET_MEASUREMENT_INTERVAL);
        let running = self.running();
        let clones = measure(&host.state_dir, &host.lock, running, self.limit(), !is_quiet).await;
        self.last = Measurement { at: Some(Instant::now()), clones, left: pressure.left, free };
        if self.baseline.at.is_none()
            || pressure.scarce.is_none() && self.baseline.is_older_than(BASELINE_AGE)
            || self.baseline.is_older_than(QUIET_MEASUREMENT_INTERVAL)
        {
            self.baseline = self.last.clone();
        }
    }

    /// The clones whose PHP runs: those that can fill the disk.
    fn running(&self) -> Vec<Arc<LocalClone>> {
        let is_running =
            |clone: &Arc<LocalClone>| clone.phase() != Phase::Deleting && clone.stopping_problem().is_none();
        self.engine.clones.all().into_iter().filter(is_running).collect()
    }

    async fn stop_clones_over_limit(&mut self) {
        let limit = self.limit();
        for clone in self.running() {
            let Some(found) = self.last.clones.get(&clone.name()) else { continue };
            // One that is being created holds only what we put into it.
            if !found.usage.is_some_and(|usage| usage.exceeds(limit)) || clone.phase() == Phase::Creating {
                continue;
            }
            let detail = format!(
                "It takes more of the disk than a clone may: {} MiB or {} files.",
                limit.bytes >> 20,
                limit.files
            );
            self.stop(&clone, &detail).await;
        }
    }

    /// Stops the clone that has grown most, if one has.
    async fn relieve(&mut self, pressure: Pressure, scarce: Scarce) {
        if (pressure.is_falling || pressure.is_critical)
            && let Some(clone) = self.grown_most(scarce, pressure.is_falling)
        {
            let detail = match scarce {
                Scarce::Bytes => "The machine's disk was nearly full, and this clone was filling it.",
                Scarce::Files => {
                    "The machine's disk had nearly no inodes left, and this clone was using them up."
                }
            };
            self.stop(&clone, detail).await;
            // Growth of the others counts from now on.
            self.baseline = self.last.clone();
            self.pressure.reset();
        } else if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged_at = Some(Instant::now());
            tracing::error!(
                ?scarce,
                state = %self.engine.host.state_dir.root().display(),
                "the disk is nearly full, and no clone that runs fills it: free space has to be made"
            );
        }
    }

    /// The least growth of a clone that fills the disk: half of what each would have grown if all had filled it alike.
    fn min_growth(&self, scarce: Scarce) -> u64 {
        let share = 2 * self.last.clones.len().max(1) as u64;
        let fallen = |before: u64, now: u64| before.saturating_sub(now) / share;
        let (before, now) = (self.baseline.free, self.last.free);
        match scarce {
            Scarce::Bytes => fallen(before.bytes, now.bytes).max(MIN_GROWTH.bytes),
            Scarce::Files => fallen(before.files, now.files).max(MIN_GROWTH.files),
        }
    }

    fn grown_most(&self, scarce: Scarce, is_falling: bool) -> Option<Arc<LocalClone>> {
        let growth = |name: &CloneName| {
            let now = self.last.clones.get(name)?.usage?;
            let before =
                self.baseline.clones.get(name).map_or(Some(Usage::default()), |before| before.usage)?;
            Some(match scarce {
                Scarce::Bytes => now.bytes.saturating_sub(before.bytes),
                Scarce::Files => now.files.saturating_sub(before.files),
            })
        };
        // What is written without growing may lie where it is not seen.
        let written = |name: &CloneName| {
            let before = self.baseline.clones.get(name).map_or(0, |before| before.written);
            Some(self.last.clones.get(name)?.written.saturating_sub(before))
        };
        let unmeasurable = |name: &CloneName| Some(u64::from(self.last.clones.get(name)?.usage.is_none()));
        let hidden = || {
            let most = self.most(MIN_GROWTH.bytes * 4, written);
            most.or_else(|| self.most(1, unmeasurable)).filter(|_| is_falling)
        };
        self.most(self.min_growth(scarce), growth).or_else(hidden)
    }

    /// The running clone with the largest amount, if that is large enough.
    fn most(&self, min: u64, amount: impl Fn(&CloneName) -> Option<u64>) -> Option<Arc<LocalClone>> {
        // One that is being created holds only what we put into it.
        let running = self.running().into_iter().filter(|clone| clone.phase() != Phase::Creating);
        let amounts = running.filter_map(|clone| Some((amount(&clone.name())?, clone)));
        let most = amounts.filter(|(amount, _)| *amount >= min).max_by_key(|(amount, _)| *amount);
        most.map(|(_, clone)| clone)
    }

    async fn stop(&self, clone: &Arc<LocalClone>, detail: &str) {
        let found = self.last.clones.get(&clone.name()).and_then(|found| found.usage).unwrap_or_default();
        tracing::error!(clone = %clone.name(), bytes = found.bytes, files = found.files, detail, "a clone is stopped");
        let problem = CloneProblem::new(CloneProblemKind::DiskLimitExceeded, detail);
        self.engine.stop_clone(clone, problem).await;
    }
}
