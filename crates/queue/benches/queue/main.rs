//! `./dev bench queue`: this queue and BullMQ on one Redis in one run, and this queue alone at growing depths and on few
//! sites. It prints tables and stores nothing. docs/QUEUE.md describes what is measured and how.

mod compare;
mod program;
mod protocol;
mod report;
mod scale;
mod server;
mod side;

use std::fs;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use wpclone_test_redis::Fsync;

use program::{Program, Who};
use report::Table;
use server::Server;

/// Compares the queue with BullMQ on one Redis in one run, and measures it at growing depths.
#[derive(Parser)]
#[command(name = "queue")]
struct Options {
    /// What to measure
    #[arg(long, value_delimiter = ',', default_value = "rates,latency,memory,depth,sites")]
    parts: Vec<Part>,
    /// Rounds, after one that does not count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// appendfsync of Redis; one run for each
    #[arg(long, value_delimiter = ',', default_value = "everysec", value_parser = fsync)]
    fsync: Vec<Fsync>,
    /// Seconds at 50 tasks a second in each round
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Small counts and three rounds: checks that it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Without BullMQ
    #[arg(long)]
    alone: bool,
    /// Print tables in Markdown
    #[arg(long)]
    markdown: bool,
    /// Run as our side, on the Redis of this URL
    #[arg(long, hide = true)]
    side: Option<String>,
    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Add, and claim to completion, with 50 in flight
    Rates,
    /// Latency from adding to the claim, at 50 tasks a second
    Latency,
    /// Redis' memory for a waiting task
    Memory,
    /// Our queue with 10, 10,000 and 1,000,000 waiting tasks
    Depth,
    /// Our queue with all tasks on 1, 10 and 1,000 sites
    Sites,
}

fn fsync(name: &str) -> Result<Fsync, String> {
    let known = [Fsync::Always, Fsync::EverySecond, Fsync::Never];
    known
        .into_iter()
        .find(|f| f.as_str() == name)
        .ok_or_else(|| "it is one of always, everysec and no".into())
}

/// The counts of everything.
struct Scale {
    rounds: u32,
    /// Tasks per round.
    turn: u64,
    /// Seconds per round at 50 tasks a second.
    seconds: u64,
    /// Waiting tasks when memory is measured.
    waiting: u64,
    depths: [u64; 3],
    /// Bursts at each depth.
    bursts: u32,
    /// Tasks per round on few sites.
    on_sites: u64,
}

impl Scale {
    fn of(options: &Options) -> Self {
        if options.quick {
            return Self {
                rounds: 3,
                turn: 3000,
                seconds: 2,
                waiting: 10_000,
                depths: [10, 1000, 10_000],
                bursts: 5,
                on_sites: 500,
            };
        }
        Self {
            rounds: options.rounds,
            turn: 30_000,
            seconds: options.seconds,
            waiting: 100_000,
            depths: [10, 10_000, 1_000_000],
            bursts: 40,
            on_sites: 5000,
        }
    }
}

async fn measure(options: &Options) -> Result<()> {
    let scale = Scale::of(options);
    for fsync in &options.fsync {
        let before = load();
        let server = Server::start(*fsync).await?;
        let ours = Who::Ours.start(&server).await?;
        let peer = if options.alone { None } else { Some(Who::Peer.start(&server).await?) };
        let mut bench = Bench { ours, peer, server, scale: &scale };
        let mut tables = Vec::new();
        for part in [Part::Rates, Part::Latency, Part::Memory, Part::Depth, Part::Sites] {
            if options.parts.contains(&part) {
                eprintln!("{part:?}, appendfsync {}; load {}", fsync.as_str(), load());
                tables.extend(bench.part(part).await?);
            }
        }
        let title = format!(
            "{}; Redis {}, appendfsync {}; load before {before}, after {}",
            bench.sides().map(|side| side.name.as_str()).collect::<Vec<_>>().join(" beside "),
            bench.server.version().await?,
            fsync.as_str(),
            load(),
        );
        println!("\n{title}");
        for table in report::joined(tables) {
            println!("\n{}", if options.markdown { table.markdown() } else { table.plain() });
        }
    }
    Ok(())
}

/// The processes of a benchmark. The server is dropped last.
struct Bench<'a> {
    ours: Side,
    peer: Option<Side>,
    server: Server,
    scale: &'a Scale,
}

/// One side: a process that adds tasks, and one that works.
struct Side {
    name: String,
    producer: Program,
    worker: Program,
}

impl Bench<'_> {
    fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.ours).chain(&self.peer)
    }

    async fn part(&mut self, part: Part) -> Result<Vec<Table>> {
        Ok(match part {
            Part::Rates => self.rates().await?,
            Part::Latency => vec![self.latency().await?],
            Part::Memory => vec![self.memory().await?],
            Part::Depth => vec![self.depth().await?],
            Part::Sites => vec![self.sites().await?],
        })
    }
}

/// The load average of the last minute (proc_loadavg(5)).
fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or("unknown").to_owned()
}

fn main() -> Result<()> {
    let options = Options::parse();
    match &options.side {
        // As api and worker do.
        Some(url) => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(side::run(url))
        }
        None => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            // On this thread: children die with the thread that started them. Interrupted, it tidies up all the same.
            tokio::select! {
                measured = measure(&options) => measured,
                _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            }
        }),
    }
}
