//! Stops clones that take more of the disk than they may, and, when the disk is about to be full, the one that fills it.
//! Nothing is deleted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wpclone_beneath::Usage;
use wpclone_provision::{CloneName, CloneProblem, CloneProblemKind, Isolation, Phase};

use crate::blocking::run_blocking;
use crate::disk_growth::{Growth, Measurement};
use crate::disk_pressure::{DiskPressure, Pressure, Scarce, scarce_for_new};
use crate::disk_usage::{Clones, FreeSpace, measure};
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
/// A smaller fall of the free space is no reason to measure.
const MIN_FALL: Usage = Usage { bytes: 64 << 20, files: 5_000 };
/// Where less is free, no program starts and none of them can write.
const EXHAUSTED: Usage = Usage { bytes: 64 << 20, files: 1_000 };
/// How often an operator is told that the disk is nearly full.
const LOG_INTERVAL: Duration = Duration::from_secs(600);

/// What is told about the disk after each check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskReport {
    /// Why new clones do not fit, if they do not.
    pub(crate) problem: Option<&'static str>,
    /// Whether nothing could be written before, and now something can: what failed for that need not wait.
    pub(crate) has_space_again: bool,
}

/// What a check of the disk found.
struct DiskStatus {
    report: DiskReport,
    /// When to check again.
    pause: Duration,
}

/// Watches the disk of the state folder; never returns.
pub(crate) async fn run(engine: &Arc<LocalEngine>, report: impl Fn(DiskReport)) {
    let mut watch = DiskWatch::new(engine);
    loop {
        let pause = match watch.check().await {
            Ok(status) => {
                report(status.report);
                status.pause
            }
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
    /// Whether nothing could be written at the last check.
    is_exhausted: bool,
    logged_at: Option<Instant>,
}

impl<'a> DiskWatch<'a> {
    fn new(engine: &'a Arc<LocalEngine>) -> Self {
        Self {
            engine,
            pressure: DiskPressure::new(engine.host.disk),
            last: Measurement::default(),
            baseline: Measurement::default(),
            is_exhausted: false,
            logged_at: None,
        }
    }

    fn limit(&self) -> Usage {
        self.engine.host.disk.clone_limit()
    }

    async fn free_space(&self) -> io::Result<FreeSpace> {
        let root = self.engine.host.state_dir.root().to_owned();
        run_blocking(move || FreeSpace::of(&root)).await
    }

    /// Checks the disk once.
    async fn check(&mut self) -> io::Result<DiskStatus> {
        let found = self.free_space().await?;
        let report = self.report(found);
        let pressure = self.pressure.observe(std::time::Instant::now(), found);
        let free = found.as_usage();
        if let Some(scarce) = pressure.scarce.filter(|_| pressure.is_urgent())
            && let Some(clone) = self.known_filler(scarce, free)
        {
            self.stop_filler(&clone, scarce).await;
            return Ok(DiskStatus { report, pause: URGENT_INTERVAL });
        }
        if self.is_measurement_due(pressure) {
            self.measure(pressure, free).await;
            self.stop_clones_over_limit().await;
        }
        // A fall counts from the most that was free.
        self.last.left = most_of_each(self.last.left, pressure.left);
        self.baseline.free = most_of_each(self.baseline.free, free);
        if let Some(scarce) = pressure.scarce {
            self.relieve(pressure, scarce).await;
        }
        let is_soon = pressure.left.bytes < SOON.bytes || pressure.left.files < SOON.files;
        Ok(DiskStatus { report, pause: if is_soon { URGENT_INTERVAL } else { INTERVAL } })
    }

    fn report(&mut self, found: FreeSpace) -> DiskReport {
        let problem = scarce_for_new(found, self.engine.host.disk).map(|scarce| match scarce {
            Scarce::Bytes => "the disk is nearly full: free space has to be made",
            Scarce::Files => "the disk has nearly no inodes left: files have to be removed",
        });
        let is_exhausted =
            found.bytes < EXHAUSTED.bytes || found.files.is_some_and(|(free, _)| free < EXHAUSTED.files);
        let was_exhausted = std::mem::replace(&mut self.is_exhausted, is_exhausted);
        DiskReport { problem, has_space_again: was_exhausted && !is_exhausted }
    }

    /// Clones are measured now and then, and whenever the free space has fallen by a part of what is left or of what a clone
    /// may take.
    fn is_measurement_due(&self, pressure: Pressure) -> bool {
        if is_older_than(&self.last, QUIET_MEASUREMENT_INTERVAL) {
            return true;
        }
        if pressure.scarce.is_some() {
            return pressure.is_falling || is_older_than(&self.last, SCARCE_MEASUREMENT_INTERVAL);
        }
        let has_fallen = |before: u64, left: u64, limit: u64, min: u64| {
            before.saturating_sub(left) >= (before / 4).min(limit / 4).max(min)
        };
        let (before, left, limit) = (self.last.left, pressure.left, self.limit());
        has_fallen(before.bytes, left.bytes, limit.bytes, MIN_FALL.bytes)
            || has_fallen(before.files, left.files, limit.files, MIN_FALL.files)
    }

    async fn measure(&mut self, pressure: Pressure, free: Usage) {
        let is_quiet = pressure.scarce.is_none() && is_older_than(&self.last, QUIET_MEASUREMENT_INTERVAL);
        let mut running = self.running();
        // Those that take long come last.
        let files = |clone: &Arc<LocalClone>| {
            let before = self.last.clones.get(&clone.name())?;
            Some(before.usage.map_or(u64::MAX, |usage| usage.files))
        };
        running.sort_by_cached_key(files);
        let clones = self.measure_clones(running, is_quiet, free).await;
        self.last = Measurement { at: Some(Instant::now()), clones, left: pressure.left, free };
        if pressure.scarce.is_none() && is_older_than(&self.baseline, BASELINE_AGE) {
            self.baseline = self.last.clone();
        } else if is_older_than(&self.baseline, QUIET_MEASUREMENT_INTERVAL) {
            self.count_growth_anew();
        }
        let clones = &self.engine.clones;
        let is_dedicated = |name: &CloneName| {
            clones.get(name).is_some_and(|clone| clone.info().isolation == Isolation::Dedicated)
        };
        self.baseline.add_new_clones(&self.last, is_dedicated);
    }

    /// Measures clones; one that is quiet is given up for one that is not when the free space falls.
    async fn measure_clones(&self, clones: Vec<Arc<LocalClone>>, is_quiet: bool, free: Usage) -> Clones {
        let host = &self.engine.host;
        let measure =
            |clones, is_urgent| measure(&host.state_dir, &host.lock, clones, self.limit(), is_urgent);
        if is_quiet {
            let free_space = || async { self.free_space().await.ok() };
            tokio::select! {
                measured = measure(clones.clone(), false) => return measured,
                () = until_less_is_free(free_space, free) => {}
            }
        }
        measure(clones, true).await
    }

    /// Counts the growth of clones from now on. What took space and cannot be attributed stays in mind.
    fn count_growth_anew(&mut self) {
        self.baseline = match self.baseline.at {
            None => self.last.clone(),
            Some(_) => self.last.as_baseline(&self.baseline),
        };
    }

    /// The clones whose PHP runs: those that can fill the disk.
    fn running(&self) -> Vec<Arc<LocalClone>> {
        let is_running =
            |clone: &Arc<LocalClone>| clone.phase() != Phase::Deleting && clone.stopping_problem().is_none();
        self.engine.clones.all().into_iter().filter(is_running).collect()
    }

    async fn stop_clones_over_limit(&mut self) {
        let limit = self.limit();
        for clone in self.engine.clones.running_own_code() {
            let Some(found) = self.last.clones.get(&clone.name()) else { continue };
            if !found.usage.is_some_and(|usage| usage.exceeds(limit)) {
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

    /// Stops the clone that fills the disk, if one does.
    async fn relieve(&mut self, pressure: Pressure, scarce: Scarce) {
        if let Some(clone) = pressure.is_urgent().then(|| self.filler(scarce)).flatten() {
            self.stop_filler(&clone, scarce).await;
        } else if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged_at = Some(Instant::now());
            let growth = self.growth();
            tracing::error!(
                ?scarce,
                state = %self.engine.host.state_dir.root().display(),
                fall = growth.fall(scarce),
                growth_of_clones = growth.of_all(scarce),
                "the disk is nearly full, and no clone that runs fills it, as far as can be seen: free space has to be made"
            );
        }
    }

    fn growth(&self) -> Growth<'_> {
        Growth { before: &self.baseline, now: &self.last }
    }

    /// The running clone that fills the disk.
    fn filler(&self, scarce: Scarce) -> Option<Arc<LocalClone>> {
        self.running_filler(|among| self.growth().filler(among, scarce).cloned())
    }

    /// The running clone whose growth until the last measurement explains what the free space has fallen until now. Another
    /// measurement would take long while a clone creates many files.
    fn known_filler(&self, scarce: Scarce, free: Usage) -> Option<Arc<LocalClone>> {
        let now = Measurement { free, ..self.last.clone() };
        let growth = Growth { before: &self.baseline, now: &now };
        self.running_filler(|among| growth.main_filler(among, scarce).cloned())
    }

    fn running_filler(&self, find: impl Fn(&[CloneName]) -> Option<CloneName>) -> Option<Arc<LocalClone>> {
        let clones = self.engine.clones.running_own_code();
        let names: Vec<CloneName> = clones.iter().map(|clone| clone.name()).collect();
        let filler = find(&names)?;
        clones.iter().find(|clone| clone.name() == filler).cloned()
    }

    async fn stop_filler(&mut self, clone: &Arc<LocalClone>, scarce: Scarce) {
        let detail = match scarce {
            Scarce::Bytes => "The machine's disk was nearly full, and this clone was filling it.",
            Scarce::Files => {
                "The machine's disk had nearly no inodes left, and this clone was using them up."
            }
        };
        self.stop(clone, detail).await;
        self.count_growth_anew();
        self.pressure.reset();
    }

    async fn stop(&self, clone: &Arc<LocalClone>, detail: &str) {
        let found = self.last.clones.get(&clone.name()).and_then(|found| found.usage).unwrap_or_default();
        tracing::error!(clone = %clone.name(), bytes = found.bytes, files = found.files, detail, "a clone is stopped");
        let problem = CloneProblem::new(CloneProblemKind::DiskLimitExceeded, detail);
        self.engine.stop_clone(clone, problem).await;
    }
}

/// Waits until a part of what was free is not free any more: a measurement that takes its time would be too late then.
async fn until_less_is_free<F: Future<Output = Option<FreeSpace>>>(
    free_space: impl Fn() -> F,
    before: Usage,
) {
    loop {
        sleep(URGENT_INTERVAL).await;
        let Some(free) = free_space().await.map(FreeSpace::as_usage) else { continue };
        if free.bytes.saturating_add(MIN_FALL.bytes) <= before.bytes
            || free.files.saturating_add(MIN_FALL.files) <= before.files
        {
            return;
        }
    }
}

fn most_of_each(one: Usage, other: Usage) -> Usage {
    Usage { bytes: one.bytes.max(other.bytes), files: one.files.max(other.files) }
}

fn is_older_than(measurement: &Measurement, age: Duration) -> bool {
    measurement.at.is_none_or(|at| at.elapsed() >= age)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const BEFORE: Usage = Usage { bytes: 8 << 30, files: 500_000 };

    /// Looks at a disk of which each look finds this much less; whether that ends after at most ten looks.
    async fn ends_when_each_look_finds_less(bytes: u64, files: u64) -> bool {
        let looks = AtomicU64::new(0);
        let free_space = || {
            let looks = looks.fetch_add(1, Ordering::Relaxed) + 1;
            let files = Some((BEFORE.files - files * looks, 1_000_000));
            ready(Some(FreeSpace { bytes: BEFORE.bytes - bytes * looks, files }))
        };
        let enough = async {
            while looks.load(Ordering::Relaxed) < 10 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            biased;
            () = until_less_is_free(free_space, BEFORE) => true,
            () = enough => false,
        }
    }

    #[tokio::test]
    async fn a_measurement_that_takes_its_time_is_given_up_when_the_free_space_falls() {
        let ends = ends_when_each_look_finds_less;
        let (filled, used, slow) = tokio::join!(ends(16 << 20, 0), ends(0, 1_000), ends(1 << 10, 1));
        assert_eq!((filled, used, slow), (true, true, false));
    }
}
