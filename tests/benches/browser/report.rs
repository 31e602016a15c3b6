//! The printed figures of one WordPress.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::Method;
use crate::run::Run;

/// The runs of all methods on one WordPress.
pub(crate) struct Table {
    wordpress: String,
    runs: Vec<(Method, Result<Run>)>,
}

impl Table {
    pub(crate) fn new(wordpress: &str) -> Self {
        Self { wordpress: wordpress.to_owned(), runs: Vec::new() }
    }

    pub(crate) fn add(&mut self, method: Method, run: Result<Run>) {
        self.runs.push((method, run));
    }

    /// Fails when a run failed; of the script, only when all runs failed.
    pub(crate) fn sound(&self) -> Result<()> {
        for (method, run) in &self.runs {
            if let Err(error) = run
                && (*method != Method::WebDriverScript || self.good(*method).next().is_none())
            {
                bail!("{method:?} failed on WordPress {}: {error:#}", self.wordpress);
            }
        }
        Ok(())
    }

    fn good(&self, method: Method) -> impl Iterator<Item = &Run> {
        let of_method = self.runs.iter().filter(move |(w, _)| *w == method);
        of_method.filter_map(|(_, run)| run.as_ref().ok())
    }

    fn whole(&self, method: Method) -> Option<Spread> {
        Spread::of(self.good(method).map(Run::whole))
    }

    /// The ratio of two medians.
    fn ratio(&self, method: Method, to: Method) -> Option<f64> {
        let (method, to) = self.whole(method).zip(self.whole(to))?;
        Some(method.median.as_secs_f64() / to.median.as_secs_f64())
    }

    fn write_method(&self, f: &mut fmt::Formatter<'_>, method: Method, name: &str) -> fmt::Result {
        if let (Some(whole), Some(ratio)) = (self.whole(method), self.ratio(method, Method::HttpRequests)) {
            writeln!(f, "  {name:<38}{whole}{ratio:>8.1}")?;
        }
        for (pick, sign) in [(laps as Pick, ""), (beside, "~ ")] {
            let first = self.good(method).next();
            for (index, (part, _)) in first.map_or(&[][..], pick).iter().enumerate() {
                let times = self.good(method).filter_map(|run| pick(run).get(index).map(|(_, time)| *time));
                if let Some(spread) = Spread::of(times) {
                    writeln!(f, "      {:<34}{spread}", format!("{sign}{part}"))?;
                }
            }
        }
        for (_, run) in self.runs.iter().filter(|(w, _)| *w == method) {
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
            "x HTTP"
        )?;
        self.write_method(f, Method::WebDriverScript, "plain WebDriver script")?;
        self.write_method(f, Method::Wpclone, "wpclone, as its client sees it")?;
        self.write_method(f, Method::HttpRequests, "bare HTTP requests")?;
        match self.ratio(Method::WebDriverScript, Method::Wpclone) {
            Some(ratio) => writeln!(f, "  the plain script takes {ratio:.2} times as long as wpclone"),
            None => Ok(()),
        }
    }
}

/// The distribution of several times.
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
