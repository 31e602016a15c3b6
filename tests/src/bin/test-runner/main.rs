//! `./dev test`: runs the workspace's test programs side by side and says which tests took longest.
//!
//! `cargo test` runs one program after the other, and most of an end-to-end test's time is waiting. This runner starts
//! the end-to-end tests with more threads than there are processors, and the programs of the crates beside them. A program
//! of which a pass is cached is not repeated, see [`pass_cache`].

mod cached_runner;
mod environment;
mod libtest;
mod pass_cache;
mod processors;
mod programs;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use futures_util::stream::{self, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::cached_runner::CachedRunner;
use crate::processors::ProcessorTimes;
use crate::programs::TestProgram;
use crate::report::Report;

/// Runs the tests of this workspace.
#[derive(Debug, Parser)]
#[command(name = "test-runner")]
pub(crate) struct Args {
    /// Tests of the end-to-end program that run at once.
    #[arg(long, default_value_t = 4, value_name = "N")]
    threads: usize,
    /// Other test programs that run at once, each with two threads.
    #[arg(long, default_value_t = 2, value_name = "N")]
    programs: usize,
    /// Only the crates' own tests, without the slowest programs, and one end-to-end test of each kind of task.
    #[arg(long, conflicts_with = "words")]
    quick: bool,
    /// Only the tests that need a Kubernetes, which are run in no other way.
    #[arg(long, conflicts_with = "quick")]
    cluster: bool,
    /// Write here, in a line, what was not repeated.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Only tests whose name contains one of these words.
    words: Vec<String>,
}

/// The end-to-end tests that `--quick` runs: one of each kind of task.
const QUICK: &[&str] = &[
    "setup_and_app_passwords::at_the_root_of_the_current_wordpress",
    "clone::lifecycle::a_site_is_cloned_to_its_own_address_and_can_be_deleted",
    "obstacles::login::",
    "test_environment::the_app_starts_stops_and_starts_again",
];

/// Programs that take longest; they start first, so that none of them runs alone at the end. `--quick` omits them.
const LONGEST: &[&str] = &[
    "wpclone-provision-local local",
    "wpclone-api dashboard",
    "wpclone-queue faults",
    "wpclone-api schemathesis",
];

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    // Programs that still run are killed with what is dropped.
    tokio::select! {
        ended = run(Args::parse()) => ended,
        _ = terminated.recv() => bail!("terminated"),
    }
}

async fn run(args: Args) -> Result<ExitCode> {
    let began = Instant::now();
    let programs = programs::build().await?;
    report::say(&format!("{} test programs, built in {} s", programs.len(), began.elapsed().as_secs()));

    let (of_cluster, programs): (Vec<_>, Vec<_>) = programs.into_iter().partition(TestProgram::is_of_cluster);
    if args.cluster {
        return Ok(run_cluster_tests(&of_cluster, &args).await);
    }
    let (end_to_end, mut others): (Vec<TestProgram>, Vec<TestProgram>) =
        programs.into_iter().partition(TestProgram::is_end_to_end);
    if args.quick {
        others.retain(|program| !LONGEST.contains(&&*program.name));
    }
    others.sort_by_key(|program| {
        LONGEST.iter().position(|name| *name == program.name).unwrap_or(LONGEST.len())
    });
    let filter =
        if args.quick { QUICK.iter().map(|word| (*word).to_owned()).collect() } else { args.words.clone() };
    let (began, processors) = (Instant::now(), ProcessorTimes::now());
    let runner = CachedRunner::open().await;
    let end_to_end = async {
        let mut reports = Vec::new();
        for program in &end_to_end {
            reports.push(runner.run(program, args.threads, &filter).await);
        }
        reports
    };
    let others = async {
        let runs = others.iter().map(|program| runner.run(program, 2, &args.words));
        let mut reports: Vec<_> = stream::iter(runs).buffer_unordered(args.programs.max(1)).collect().await;
        if !args.quick {
            reports.push(programs::doc_tests(&args.words).await);
        }
        reports
    };
    let (end_to_end, others) = tokio::join!(end_to_end, others);
    runner.close().await;
    let report = Report::of(end_to_end.into_iter().chain(others).collect(), began.elapsed());
    if let Some(file) = &args.summary {
        std::fs::write(file, report.not_repeated().unwrap_or_default())?;
    }
    let code = conclude(report);
    if let (Some(before), Some(now)) = (processors, ProcessorTimes::now()) {
        println!("the processors were busy for {} % of the time of all tests", now.percent_since(before));
    }
    Ok(code)
}

/// One program after the other: each starts a cluster.
async fn run_cluster_tests(programs: &[TestProgram], args: &Args) -> ExitCode {
    let began = Instant::now();
    let mut reports = Vec::new();
    for program in programs {
        reports.push(libtest::run(program, args.threads, &args.words).await);
    }
    conclude(Report::of(reports, began.elapsed()))
}

fn conclude(report: Report) -> ExitCode {
    report.print();
    if report.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
