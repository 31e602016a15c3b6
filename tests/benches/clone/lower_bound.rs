//! The lower bound: an unverified copy. A dump piped into another schema, and `cp -a` of the folder.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wpclone_tests::{Lab, Site};

/// The times of one copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LowerBound {
    pub(crate) database: Duration,
    pub(crate) files: Duration,
}

impl LowerBound {
    pub(crate) fn whole(self) -> Duration {
        self.database + self.files
    }
}

const SCHEMA: &str = "bench_floor";

/// Copies once. The folder stays until the lab ends: creating files right after many were deleted is slow on ext4,
/// which skips recently freed inodes.
pub(crate) async fn run(site: &Site, round: u32) -> Result<LowerBound> {
    let source = site.sql("SELECT DATABASE()").await?.trim().to_owned();
    let socket = Lab::shared().mariadb_socket().await?;
    let to = Lab::shared().folder().await?.join(format!("lower-bound-{round}"));
    let tree = site.tree();
    site.sql(&format!("CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4")).await?;
    let copied = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        database(&socket, &source)?;
        let database = begun.elapsed();
        let begun = Instant::now();
        let copied = Command::new("cp").arg("-a").arg(&tree).arg(&to).status()?;
        let files = begun.elapsed();
        ensure!(copied.success(), "cp: {copied}");
        Ok(LowerBound { database, files })
    })
    .await?;
    site.sql(&format!("DROP DATABASE {SCHEMA}")).await?;
    copied
}

fn database(socket: &Path, source: &str) -> Result<()> {
    let client = |name: &str| {
        let mut command = Command::new(name);
        command.args(["--no-defaults", "--default-character-set=utf8mb4", "--socket"]).arg(socket);
        command
    };
    let mut dump = client("mariadb-dump");
    dump.args(["--single-transaction", "--quick", source]).stdout(Stdio::piped());
    let mut dump = dump.spawn().context("mariadb-dump")?;
    let rows = dump.stdout.take().context("the dump has no output")?;
    let loaded = client("mariadb").arg(SCHEMA).stdin(rows).status();
    let dumped = dump.wait()?;
    let loaded = loaded.context("mariadb")?;
    ensure!(dumped.success() && loaded.success(), "mariadb-dump: {dumped}, mariadb: {loaded}");
    Ok(())
}
