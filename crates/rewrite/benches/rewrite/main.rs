//! `./dev bench rewrite`: benchmarks of the crate's functions, and a comparison with PHP and a bare search on rows
//! like those of a WordPress site. docs/REWRITE.md describes the measurements.

mod baseline;
mod compare;
mod functions;
mod rows;
mod table;

use std::fs;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// The old address.
const OLD: &str = "http://example.com";
/// The new address.
const NEW: &str = "https://new.example.org/shop";

/// Measures the rewriter: its functions, and its throughput on WordPress rows compared with PHP and a bare search.
#[derive(Parser)]
#[command(name = "rewrite")]
struct Options {
    /// What to measure
    #[arg(long, value_delimiter = ',', default_value = "functions,rows")]
    parts: Vec<Part>,
    /// Number of rounds, not counting one warm-up round
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Megabytes of rows in each set
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    megabytes: u32,
    /// Seed of the generated rows
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// A quick run that checks that everything works; its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Without PHP
    #[arg(long)]
    alone: bool,
    /// Tables in Markdown
    #[arg(long)]
    markdown: bool,
    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Each function on each kind of value, by criterion
    Functions,
    /// Mixed rows, compared with PHP and a bare search
    Rows,
}

impl Options {
    fn rounds(&self) -> u32 {
        if self.quick { 2 } else { self.rounds }
    }

    fn bytes(&self) -> usize {
        let megabytes = if self.quick { 2 } else { self.megabytes };
        megabytes as usize * 1_000_000
    }
}

/// The load average of the last minute, from Linux' /proc/loadavg (proc_loadavg(5)).
fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or("unknown").to_owned()
}

fn main() -> Result<()> {
    let options = Options::parse();
    if options.parts.contains(&Part::Functions) {
        functions::measure(&options)?;
    }
    if options.parts.contains(&Part::Rows) {
        compare::measure(&options)?;
    }
    Ok(())
}
