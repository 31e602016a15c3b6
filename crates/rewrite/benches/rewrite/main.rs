//! `./dev bench rewrite`: the crate's functions by themselves; and on rows as a WordPress has them beside PHP doing what
//! WP-CLI does, and beside a bare search. docs/REWRITE.md says what is measured and how.

mod baseline;
mod compare;
mod functions;
mod rows;
mod table;

use std::fs;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// The address that moves.
const OLD: &str = "http://example.com";
/// Where it moves.
const NEW: &str = "https://new.example.org/shop";

/// Measures the rewriter: its functions, and rows of a WordPress beside PHP and a bare search.
#[derive(Parser)]
#[command(name = "rewrite")]
struct Options {
    /// What to measure
    #[arg(long, value_delimiter = ',', default_value = "functions,rows")]
    parts: Vec<Part>,
    /// How often all take their turn, after one time that does not count
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Megabytes of rows in each set
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    megabytes: u32,
    /// What the rows are made from
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// Little of everything: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Without PHP
    #[arg(long)]
    alone: bool,
    /// Tables in Markdown
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Each function on each kind of value, by criterion
    Functions,
    /// Mixed rows, beside PHP and a bare search
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

/// How busy the machine was in the last minute, as Linux says (proc_loadavg(5)).
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
