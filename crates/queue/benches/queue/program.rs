//! The processes of both sides, as the driver sees them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;
use wpclone_test_redis::Process;

use crate::Side;
use crate::protocol::{Answer, Order};
use crate::server::Server;

/// Timeout of an order, which takes seconds to minutes.
const PATIENCE: Duration = Duration::from_secs(900);
/// Clock ticks per second in proc_pid_stat(5).
const TICKS: f64 = 100.0;

/// The queue of a side.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    Ours,
    Peer,
}

impl Who {
    /// Starts a producer and a worker.
    pub(crate) async fn start(self, server: &Server) -> Result<Side> {
        let (program, script) = match self {
            Self::Ours => (env::current_exe()?, None),
            Self::Peer => ("node".into(), Some(peer()?)),
        };
        let mut programs = Vec::new();
        for _ in 0..2 {
            programs.push(Program::start(&program, script.as_deref(), server).await?);
        }
        let (Some((worker, name)), Some((producer, _))) = (programs.pop(), programs.pop()) else {
            anyhow::bail!("a side has two processes");
        };
        Ok(Side { name, producer, worker })
    }
}

/// BullMQ's script, if its libraries are installed.
fn peer() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline");
    ensure!(
        folder.join("node_modules/bullmq").is_dir(),
        "BullMQ is missing: run `npm ci` in {}, or measure with --alone",
        folder.display()
    );
    Ok(folder.join("bullmq.mjs"))
}

/// A process that executes orders.
pub(crate) struct Program {
    process: Process,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts it. Returns its name and version as well.
    async fn start(program: &Path, script: Option<&Path>, server: &Server) -> Result<(Self, String)> {
        let mut process = Process::start(program, |command| {
            match script {
                Some(script) => command.arg(script).env("NODE_ENV", "production"),
                None => command.arg("--side"),
            };
            command.arg(server.url()).stdin(Stdio::piped()).stdout(Stdio::piped());
        });
        let orders = process.0.stdin.take().context("no stdin")?;
        let answers = process.0.stdout.take().context("no stdout")?;
        let mut program = Self {
            process,
            orders: ChildStdin::from_std(orders)?,
            answers: BufReader::new(ChildStdout::from_std(answers)?).lines(),
        };
        let name = program.answer().await?.name;
        Ok((program, name))
    }

    pub(crate) async fn order(&mut self, order: Order) -> Result<()> {
        let mut line = serde_json::to_string(&order)?;
        line.push('\n');
        Ok(self.orders.write_all(line.as_bytes()).await?)
    }

    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let line = timeout(PATIENCE, self.answers.next_line()).await.context("a side is stuck")??;
        Ok(serde_json::from_str(&line.context("a side ended; its words are above")?)?)
    }

    pub(crate) async fn ask(&mut self, order: Order) -> Result<Answer> {
        self.order(order).await?;
        self.answer().await
    }

    /// CPU time used so far, in seconds: fields 14 and 15 of its `stat` (proc_pid_stat(5)).
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        let (_, rest) = stat.rsplit_once(") ").context("no stat")?;
        let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / TICKS)
    }
}
