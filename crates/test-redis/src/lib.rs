#![doc = include_str!("../README.md")]
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod process;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::net::TcpSocket;

pub use crate::process::Process;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A redis-server of one test: gone, with its folder, when dropped.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
    /// Bound and never listening: it keeps the port ours while Redis is away. Redis may listen on it all the same, for
    /// both set `SO_REUSEADDR` (socket(7)).
    _claim: TcpSocket,
}

impl Redis {
    /// Starts one that writes to disk before it answers.
    pub async fn start() -> Self {
        let claim = TcpSocket::new_v4().unwrap();
        claim.set_reuseaddr(true).unwrap();
        claim.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let port = claim.local_addr().unwrap().port();
        let mut redis = Self { process: None, port, folder: TempDir::new().unwrap(), _claim: claim };
        redis.start_again().await;
        redis
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on what it had written, and waits until it has loaded that.
    pub async fn start_again(&mut self) {
        self.kill();
        let log = File::create(self.log()).unwrap();
        let mut process = Process::start("redis-server", |command| {
            command
                .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
                .arg(self.folder.path())
                .stdout(log);
        });
        let since = Instant::now();
        while !self.answers().await {
            let ended = process.0.try_wait().unwrap();
            if ended.is_some() || since.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.log()).unwrap();
                panic!("redis-server does not start (is it installed?): {ended:?} {log}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.process = Some(process);
    }

    async fn answers(&self) -> bool {
        let Ok(mut connection) = self.connect().await else {
            return false;
        };
        // While it loads, it answers with an error.
        redis::cmd("PING").exec_async(&mut connection).await.is_ok()
    }

    /// Where it is, also while it is away.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// Runs a command: `redis.ask("ZADD {wpclone}:x 1 y")`.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut self.connect().await.unwrap()).await.unwrap()
    }

    /// Everything it keeps: its log and the append-only file, with keys and values.
    #[must_use]
    pub fn everything(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() {
                    all.extend(std::fs::read(path).unwrap());
                }
            }
        }
        all
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}
