//! `./dev bench clone`: the time of a clone compared with an unverified copy, and its memory. Prints a
//! table; stores nothing.

mod lower_bound;
mod report;
mod source;
mod wpclone;

use anyhow::{Context, Result};
use clap::Parser;
use wpclone_tests::{Lab, Site, TestApp, Version, load};

use report::Figures;
use source::Size;

/// Measures clones of a small and of a large site.
#[derive(Parser)]
#[command(name = "clone")]
struct Options {
    /// Rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Posts of the large site; 0 for no large site
    #[arg(long, default_value_t = 100_000)]
    posts: u32,
    /// Rows of metadata of the large site
    #[arg(long, default_value_t = 300_000)]
    metas: u32,
    /// Files of the large site
    #[arg(long, default_value_t = 5_000)]
    files: u32,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

async fn measure(options: &Options) -> Result<Figures> {
    let mut figures = Figures::default();
    let small = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    // The first run is cold: the worker has just started.
    for round in 0..=options.rounds {
        let run = wpclone::run(&app, &small).await.context("the small site")?;
        eprintln!("small site, round {round}: {:.2} s; load {}", run.whole.as_secs_f64(), load());
        figures.small.push(run);
    }
    drop(small);
    if options.posts == 0 {
        return Ok(figures);
    }
    eprintln!("making the large site");
    let large =
        source::make(Size { posts: options.posts, metas: options.metas, files: options.files }).await?;
    // A warm-up: caches fill, and the server flushes the new tables.
    lower_bound::run(&large, 0).await.context("the lower bound")?;
    for round in 1..=options.rounds {
        written_down().await?;
        let lower_bound = lower_bound::run(&large, round).await.context("the lower bound")?;
        written_down().await?;
        let run = wpclone::run(&app, &large).await.context("the large site")?;
        let (lower_bound_s, transfer_s) =
            (lower_bound.whole().as_secs_f64(), run.step("transfer").as_secs_f64());
        eprintln!(
            "large site, round {round}: lower bound {lower_bound_s:.2} s, transfer {transfer_s:.2} s; load {}",
            load()
        );
        figures.lower_bounds.push(lower_bound);
        figures.large.push(run);
    }
    Ok(figures)
}

/// Flushes earlier writes to disk, so that they do not slow the next measurement.
async fn written_down() -> Result<()> {
    Ok(tokio::task::spawn_blocking(rustix::fs::sync).await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let before = load();
    let measured = measure(&options).await;
    Lab::shared().end();
    let figures = measured?;
    println!("\nClones, {} rounds, medians. Load before {before}, after {}.\n", options.rounds, load());
    println!("{figures}");
    Ok(())
}
