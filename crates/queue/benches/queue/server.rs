//! The Redis of a run, and its statistics.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};
use wpclone_test_redis::{Fsync, Options, Redis};

/// Timeout of a flush and of settling, which take seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Interval between two measurements.
const LOOK: Duration = Duration::from_millis(20);
/// Memory is settled when it differs by no more than this between measurements some seconds apart.
const STILL: f64 = 4096.0;

pub(crate) struct Server(Redis);

/// How often a command was called, and how many µs that took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) count: f64,
    pub(crate) micros: f64,
}

impl Server {
    /// Starts it without automatic rewrites of the append-only file, which would disturb single rounds.
    pub(crate) async fn start(fsync: Fsync) -> Result<Self> {
        let options = Options::default().fsync(fsync).arg("--auto-aof-rewrite-percentage", "0");
        Ok(Self(Redis::start_with(options).await))
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    pub(crate) async fn version(&self) -> Result<String> {
        self.info("server").await.remove("redis_version").context("no version")
    }

    async fn info(&self, section: &str) -> BTreeMap<String, String> {
        let text: String = self.0.command(&format!("INFO {section}")).await;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    async fn numbers<const N: usize>(&self, section: &str, names: [&str; N]) -> Result<[f64; N]> {
        let info = self.info(section).await;
        let mut numbers = [0.0; N];
        for (number, name) in numbers.iter_mut().zip(names) {
            *number = info.get(name).and_then(|n| n.parse().ok()).with_context(|| format!("no {name}"))?;
        }
        Ok(numbers)
    }

    /// Empties it; it keeps its scripts and functions.
    pub(crate) async fn flush(&self) -> Result<()> {
        self.0.command::<()>("FLUSHALL ASYNC").await;
        self.until("memory", "lazyfree_pending_objects").await?;
        self.0.command::<()>("BGREWRITEAOF").await;
        self.until("persistence", "aof_rewrite_scheduled").await?;
        self.until("persistence", "aof_rewrite_in_progress").await
    }

    /// Waits until a number is 0.
    async fn until(&self, section: &str, name: &str) -> Result<()> {
        let zero = async {
            while self.numbers(section, [name]).await? != [0.0] {
                sleep(LOOK).await;
            }
            Ok(())
        };
        timeout(PATIENCE, zero).await.with_context(|| format!("{name} does not end"))?
    }

    /// CPU time used by all its threads, in seconds.
    pub(crate) async fn cpu(&self) -> Result<f64> {
        Ok(self.numbers("cpu", ["used_cpu_user", "used_cpu_sys"]).await?.iter().sum())
    }

    /// Used memory without buffers of clients and of the append-only file, once it is settled.
    pub(crate) async fn memory(&self) -> Result<f64> {
        let mut last = f64::MAX;
        let mut still = 0;
        let settled = async {
            while still < 25 {
                let [used, clients, log] =
                    self.numbers("memory", ["used_memory", "mem_clients_normal", "mem_aof_buffer"]).await?;
                let now = used - clients - log;
                still = if (now - last).abs() <= STILL { still + 1 } else { 0 };
                last = now;
                sleep(LOOK).await;
            }
            Ok(last)
        };
        timeout(PATIENCE, settled).await.context("memory does not stand still")?
    }

    /// Resets the command statistics.
    pub(crate) async fn count_anew(&self) {
        self.0.command::<()>("CONFIG RESETSTAT").await;
    }

    /// The commands since then, without those of the driver.
    pub(crate) async fn commands(&self) -> Result<BTreeMap<String, Calls>> {
        let mut commands = BTreeMap::new();
        for (name, values) in self.info("commandstats").await {
            let value = |key: &str| {
                let mut pairs = values.split(',').filter_map(|pair| pair.split_once('='));
                pairs.find(|(k, _)| *k == key).and_then(|(_, v)| v.parse().ok()).context("no calls")
            };
            let name = name.trim_start_matches("cmdstat_");
            if !["info", "config|resetstat", "client|setinfo", "hello"].contains(&name) {
                commands.insert(name.to_owned(), Calls { count: value("calls")?, micros: value("usec")? });
            }
        }
        Ok(commands)
    }
}
