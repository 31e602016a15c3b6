//! The figures of one WordPress, for people.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::Way;
use crate::run::Run;

/// What every way took on one WordPress.
pub(crate) struct Table {
    wordpress: String,
    runs: Vec<(Way, Result<Run>)>,
}

impl Table {
    pub(crate) fn new(wordpress: &str) -> Self {
        Self { wordpress: wordpress.to_owned(), runs: Vec::new() }
    }

    pub(crate) fn add(&mut self, way: Way, run: Result<Run>) {
        self.runs.push((way, run));
    }

    /// Fails where the figures are no good: the script may fail now and then, as such scripts do, the others may not.
    pub(crate) fn sound(&self) -> Result<()> {
        for (way, run) in &self.runs {
            if let Err(error) = run
                && (*way != Way::Plain || self.good(*way).next().is_none())
            {
                bail!("{way:?} failed on WordPress {}: {error:#}", self.wordpress);
            }
        }
        Ok(())
    }

    fn good(&self, way: Way) -> impl Iterator<Item = &Run> {
        let of_way = self.runs.iter().filter(move |(w, _)| *w == way);
        of_way.filter_map(|(_, run)| run.as_ref().ok())
    }

    fn whole(&self, way: Way) -> Option<Spread> {
        Spread::of(self.good(way).map(Run::whole))
    }

    /// How many times the median of one is that of the other.
    fn ratio(&self, way: Way, to: Way) -> Option<f64> {
        let (way, to) = self.whole(way).zip(self.whole(to))?;
        Some(way.median.as_secs_f64() / to.median.as_secs_f64())
    }

    fn write_way(&self, f: &mut fmt::Formatter<'_>, way: Way, name: &str) -> fmt::Result {
        if let (Some(whole), Some(ratio)) = (self.whole(way), self.ratio(way, Way::Bare)) {
            writeln!(f, "  {name:<38}{whole}{ratio:>8.1}")?;
        }
        for (pick, sign) in [(laps as Pick, ""), (beside, "~ ")] {
            let first = self.good(way).next();
            for (index, (part, _)) in first.map_or(&[][..], pick).iter().enumerate() {
                let times = self.good(way).filter_map(|run| pick(run).get(index).map(|(_, time)| *time));
                if let Some(spread) = Spread::of(times) {
                    writeln!(f, "      {:<34}{spread}", format!("{sign}{part}"))?;
                }
            }
        }
        for (_, run) in self.runs.iter().filter(|(w, _)| *w == way) {
            if let Err(error) = run {
                writeln!(f, "      failed: {error:#}")?;
            }
        }
        Ok(())
    }
}

type Pick = fn(&Run) -> &[crate::run::Lap];

fn laps(run: &Run) -> &[crate::run::Lap] {
    &run.laps
}

fn beside(run: &Run) -> &[crate::run::Lap] {
    &run.beside
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<40}{:>7}{:>14}{:>8}",
            format!("WordPress {}", self.wordpress),
            "median",
            "min\u{2013}max",
            "x bare"
        )?;
        self.write_way(f, Way::Plain, "plain WebDriver script")?;
        self.write_way(f, Way::Ours, "wpclone, as its client sees it")?;
        self.write_way(f, Way::Bare, "bare HTTP requests")?;
        match self.ratio(Way::Plain, Way::Ours) {
            Some(ratio) => writeln!(f, "  the plain script takes {ratio:.2} times as long as wpclone"),
            None => Ok(()),
        }
    }
}

/// Many times of the same thing.
struct Spread {
    least: Duration,
    median: Duration,
    most: Duration,
}

impl Spread {
    fn of(times: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        let middle = times.len() / 2;
        let median = if times.len() % 2 == 1 {
            times[middle]
        } else {
            (*times.get(middle.checked_sub(1)?)? + times[middle]) / 2
        };
        Some(Self { least: *times.first()?, median, most: *times.last()? })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.least.as_millis(), self.most.as_millis());
        write!(f, "{:>7}{:>14}", self.median.as_millis(), format!("{least}\u{2013}{most}"))
    }
}
