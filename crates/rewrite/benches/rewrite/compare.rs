//! Compares the rewriter with PHP and with a bare search for the host, on generated rows, in alternation.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use memchr::memmem;
use rustix::time::{ClockId, clock_gettime};
use wpclone_rewrite::{Options as RewriteOptions, Report, Rewriter, SiteMapping};

use crate::baseline::{Baseline, Pass};
use crate::rows::{self, Kind, Matching};
use crate::table::{Table, median, spread};
use crate::{NEW, OLD, Options, load};

/// The rates in MB/s, one per round.
#[derive(Default)]
struct Rates {
    ours: Vec<f64>,
    php: Vec<f64>,
    matching: Vec<f64>,
    search: Vec<f64>,
}

pub(crate) fn measure(options: &Options) -> Result<()> {
    let before = load();
    let rewriter = Rewriter::new(&[SiteMapping::new(OLD, NEW)?], RewriteOptions::default())?;
    let (rounds, mut php) = (options.rounds(), String::new());
    let head = [
        "",
        "wpclone",
        "PHP",
        "ahead by",
        "PHP, matching rows only",
        "ahead by",
        "bare search",
        "wpclone / search",
    ];
    let mut rates = vec![head.map(str::to_owned).to_vec()];
    let head = ["", "rows", "MB", "changed by wpclone", "by PHP", "addresses"];
    let mut sets = vec![head.map(str::to_owned).to_vec()];
    for (name, rows) in row_sets(options) {
        let mut baseline = if options.alone { None } else { Some(Baseline::start(&rows)?) };
        let set = Set::measure(&rewriter, &rows, baseline.as_mut(), rounds)?;
        rates.push(set.rates(&name));
        let php_changed = if baseline.is_some() { set.php_changed.to_string() } else { String::new() };
        sets.push(
            [
                name,
                rows.len().to_string(),
                format!("{:.1}", set.megabytes),
                set.report.changed_values.to_string(),
                php_changed,
                set.report.replaced_addresses.to_string(),
            ]
            .to_vec(),
        );
        php = baseline.map_or(php, |baseline| format!(" beside PHP {}", baseline.version));
    }
    println!(
        "\nwpclone (optimised: profile bench){php}; one core each; load before {before}, after {}",
        load()
    );
    let rates = Table {
        title: format!("MB a second of CPU, medians of {rounds} rounds (least to most)"),
        rows: rates,
    };
    for table in [rates, Table { title: "The rows".into(), rows: sets }] {
        println!("\n{}", if options.markdown { table.markdown() } else { table.plain() });
    }
    Ok(())
}

/// The sets of rows: mixed rows with different shares of matches, then each kind of row.
fn row_sets(options: &Options) -> Vec<(String, Vec<Vec<u8>>)> {
    let mixed = [
        (Matching::Nothing, "nothing matches"),
        (Matching::Third, "a third of the rows matches"),
        (Matching::Every, "every row matches"),
    ];
    let mixed =
        mixed.map(|(matching, name)| (name.to_owned(), rows::mixed(options.seed, options.bytes(), matching)));
    let kinds = Kind::ALL.map(|kind| {
        (format!("{}, every row", kind.name()), rows::of(options.seed, options.bytes() / 4, kind, true))
    });
    mixed.into_iter().chain(kinds).collect()
}

/// The measurements of one set of rows.
struct Set {
    megabytes: f64,
    rates: Rates,
    report: Report,
    php_changed: u64,
}

impl Set {
    /// Measures all sides in turn. The first round is a warm-up and is not counted.
    fn measure(
        rewriter: &Rewriter,
        rows: &[Vec<u8>],
        mut baseline: Option<&mut Baseline>,
        rounds: u32,
    ) -> Result<Self> {
        #[expect(clippy::cast_precision_loss, reason = "far from 2^53")]
        let megabytes = rows.iter().map(Vec::len).sum::<usize>() as f64 / 1e6;
        let mut set = Self { megabytes, rates: Rates::default(), report: Report::default(), php_changed: 0 };
        for round in 0..=rounds {
            let (ours, report) = cpu_seconds(|| ours(rewriter, rows));
            let php = baseline.as_mut().map(|baseline| baseline.pass(false)).transpose()?;
            let (search, _) = cpu_seconds(|| search(rows));
            let matching = baseline.as_mut().map(|baseline| baseline.pass(true)).transpose()?;
            set.report = report;
            if round > 0 {
                set.rates.ours.push(megabytes / ours);
                set.rates.search.push(megabytes / search);
                let rate = |pass: &Pass| megabytes / pass.seconds;
                set.rates.php.extend(php.as_ref().map(rate));
                set.rates.matching.extend(matching.as_ref().map(rate));
            }
            set.php_changed = php.map_or(0, |pass| pass.changed);
        }
        Ok(set)
    }

    fn rates(&self, name: &str) -> Vec<String> {
        let Rates { ours, php, matching, search } = &self.rates;
        let shown = |rates: &[f64]| if rates.is_empty() { String::new() } else { spread(rates) };
        let ratio = |baseline: &[f64]| match baseline {
            [] => String::new(),
            baseline => format!("{:.1}×", median(ours) / median(baseline)),
        };
        // The bare search stops at the first match of a row, so it is comparable only without matches.
        let searched = self.report.changed_values == 0;
        vec![
            name.to_owned(),
            spread(ours),
            shown(php),
            ratio(php),
            shown(matching),
            ratio(matching),
            if searched { spread(search) } else { String::new() },
            if searched { format!("{:.0} %", 100.0 * median(ours) / median(search)) } else { String::new() },
        ]
    }
}

/// The CPU seconds of a call. The work never waits, so on an idle machine this is the elapsed time; on a busy one,
/// the time of other processes is excluded.
fn cpu_seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let began = cpu();
    let done = work();
    ((cpu() - began).as_secs_f64(), done)
}

fn ours(rewriter: &Rewriter, rows: &[Vec<u8>]) -> Report {
    let mut report = Report::default();
    for row in rows {
        black_box(rewriter.rewrite(black_box(row), &mut report));
    }
    report
}

/// Counts the rows that contain the old host.
fn search(rows: &[Vec<u8>]) -> usize {
    let host = OLD.trim_start_matches("http://");
    let finder = memmem::Finder::new(host);
    rows.iter().filter(|row| black_box(finder.find(black_box(row))).is_some()).count()
}
