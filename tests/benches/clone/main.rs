//! `./dev bench clone`: how long a clone takes, beside a copy that nobody looks into, and what memory it needs. Prints a
//! table; keeps nothing.

mod floor;
mod ours;
mod report;
mod source;

use anyhow::{Context, Result};
use clap::Parser;
use wpclone_tests::{Lab, Site, TestApp, Version, load};

use report::Figures;
use source::Size;

/// Measures clones of a small and of a large site.
#[derive(Parser)]
#[command(name = "clone")]
struct Options {
    /// How often each is done
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
    // The first has nothing prepared: the worker has just started.
    for round in 0..=options.rounds {
        let run = ours::run(&app, &small).await.context("the small site")?;
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
    // Once for nothing: caches fill, and the server writes down what was just made.
    floor::run(&large, 0).await.context("the floor")?;
    for round in 1..=options.rounds {
        written_down().await?;
        let floor = floor::run(&large, round).await.context("the floor")?;
        written_down().await?;
        let run = ours::run(&app, &large).await.context("the large site")?;
        let (floor_s, ours_s) = (floor.whole().as_secs_f64(), run.step("transfer").as_secs_f64());
        eprintln!("large site, round {round}: floor {floor_s:.2} s, transfer {ours_s:.2} s; load {}", load());
        figures.floors.push(floor);
        figures.large.push(run);
    }
    Ok(figures)
}

/// Waits until the disk has what went before, so that nobody writes for it while the next is measured.
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
