//! The printed figures.

use std::fmt;
use std::time::Duration;

use crate::lower_bound::LowerBound;
use crate::wpclone::CloneRun;

/// All runs.
#[derive(Default)]
pub(crate) struct Figures {
    /// Clones of a small site, the first of them cold.
    pub(crate) small: Vec<CloneRun>,
    pub(crate) lower_bounds: Vec<LowerBound>,
    pub(crate) large: Vec<CloneRun>,
}

/// The targets.
const TIMES_THE_FLOOR: f64 = 1.5;
const EXPORT_MIB: f64 = 8.0;
const IMPORT_MIB: f64 = 16.0;
const WORKER_MIB: f64 = 80.0;
const COLD_SECONDS: f64 = 15.0;

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.small.first() {
            writeln!(
                f,
                "A small fresh site, from request to ready ({} rows, {} files)",
                first.rows, first.files
            )?;
            aim(f, "cold", first.whole.as_secs_f64(), COLD_SECONDS, "s")?;
            steps(f, std::slice::from_ref(first))?;
            if self.small.len() > 1 {
                line(f, "after that", &times(&self.small[1..], |run| run.whole))?;
                steps(f, &self.small[1..])?;
            }
        }
        let Some(one) = self.large.first() else { return Ok(()) };
        writeln!(
            f,
            "\nA large site ({} rows, {} files, {:.0} MB of files, {} addresses)",
            one.rows,
            one.files,
            one.file_bytes as f64 / 1e6,
            one.addresses
        )?;
        line(f, "lower bound", &times(&self.lower_bounds, |lower_bound| lower_bound.whole()))?;
        line(f, "  mariadb-dump | mariadb", &times(&self.lower_bounds, |lower_bound| lower_bound.database))?;
        line(f, "  cp -a", &times(&self.lower_bounds, |lower_bound| lower_bound.files))?;
        line(f, "transfer", &times(&self.large, |run| run.step("transfer")))?;
        line(f, "the whole task", &times(&self.large, |run| run.whole))?;
        steps(f, &self.large)?;
        let lower_bound = median(&times(&self.lower_bounds, |lower_bound| lower_bound.whole()));
        let transfer = median(&times(&self.large, |run| run.step("transfer")));
        aim(f, "transfer / lower_bound", transfer / lower_bound, TIMES_THE_FLOOR, "x")?;
        let runs = || self.small.iter().chain(&self.large);
        let mib = |bytes: Option<u64>| bytes.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20));
        aim(
            f,
            "PHP above its idle, export",
            mib(runs().filter_map(|run| run.export).max()),
            EXPORT_MIB,
            "MiB",
        )?;
        aim(
            f,
            "PHP above its idle, import",
            mib(runs().filter_map(|run| run.import).max()),
            IMPORT_MIB,
            "MiB",
        )?;
        aim(f, "worker at most", mib(runs().map(|run| run.worker).max()), WORKER_MIB, "MiB")
    }
}

fn aim(f: &mut fmt::Formatter<'_>, name: &str, value: f64, most: f64, unit: &str) -> fmt::Result {
    let met = if value <= most { "met" } else { "MISSED" };
    writeln!(f, "  {name:<34}{value:>9.2} {unit:<4} (aim: {most} {unit}, {met})")
}

/// Steps by name, as medians.
fn steps(f: &mut fmt::Formatter<'_>, runs: &[CloneRun]) -> fmt::Result {
    for (name, _) in runs.first().map_or(&[][..], |run| &run.steps) {
        line(f, &format!("  step {name}"), &times(runs, |run| run.step(name)))?;
    }
    Ok(())
}

fn times<T>(runs: &[T], pick: impl Fn(&T) -> Duration) -> Vec<f64> {
    let mut times: Vec<f64> = runs.iter().map(|run| pick(run).as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn median(times: &[f64]) -> f64 {
    match times.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => times[count / 2],
        count => (times[count / 2 - 1] + times[count / 2]) / 2.0,
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, times: &[f64]) -> fmt::Result {
    let (least, most) = (times.first().unwrap_or(&f64::NAN), times.last().unwrap_or(&f64::NAN));
    writeln!(f, "  {name:<34}{:>9.2} s    ({least:.2}\u{2013}{most:.2})", median(times))
}
