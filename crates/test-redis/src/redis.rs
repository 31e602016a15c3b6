//! One redis-server.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::disk::Disk;
use crate::port::Claim;
use crate::{Options, Process};

/// The timeout for a start, and for an answer: longer than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A redis-server of one test. The process and its folder are removed on drop.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    options: Options,
    claim: Claim,
    /// The port for the other nodes of its cluster.
    bus: Option<Claim>,
    disk: Option<Disk>,
    folder: TempDir,
}

impl Redis {
    /// Starts a server that syncs to disk before it answers.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts a server with options.
    pub async fn start_with(options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        let disk = options.sync_takes.map(|time| Disk::new(folder.path(), time));
        let bus = options.cluster.then(Claim::any);
        let mut redis = Self { process: None, options, claim: Claim::any(), bus, disk, folder };
        redis.restart().await;
        redis
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Kills it as a power cut would: what its disk had not synced is lost.
    ///
    /// # Panics
    /// It was started without [`Options::simulated_disk`].
    pub fn cut_power(&mut self) {
        self.kill();
        self.disk.as_ref().expect("a simulated disk").drop_unsynced();
    }

    /// Keeps every sync from ending until [`Redis::release_syncs`].
    ///
    /// # Panics
    /// It was started without [`Options::simulated_disk`].
    pub fn hold_syncs(&self) {
        self.disk.as_ref().expect("a simulated disk").hold_syncs();
    }

    /// Lets the syncs end that [`Redis::hold_syncs`] holds.
    ///
    /// # Panics
    /// None are held.
    pub fn release_syncs(&self) {
        self.disk.as_ref().expect("a simulated disk").release_syncs();
    }

    /// Restarts it with its data, and waits until it has loaded it.
    pub async fn restart(&mut self) {
        self.kill();
        let mut process = self.launch();
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

    fn launch(&self) -> Process {
        let program = self.options.program.clone().unwrap_or_else(|| "redis-server".into());
        Process::start(program, |command| {
            command
                .args(["--port", &self.claim.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", self.options.fsync.as_str(), "--dir"])
                .arg(self.folder.path())
                .args(&self.options.args)
                .stdout(File::create(self.log()).unwrap());
            if let Some(bus) = &self.bus {
                command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.port.to_string()]);
                command.args(["--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "10000"]);
            }
            if let Some(disk) = &self.disk {
                command.envs(disk.env());
            }
        })
    }

    async fn answers(&self) -> bool {
        let Ok(mut connection) = self.connect().await else {
            return false;
        };
        // It answers with an error while it is loading.
        redis::cmd("PING").exec_async(&mut connection).await.is_ok()
    }

    /// Sends it a signal, as in `-STOP`.
    ///
    /// # Panics
    /// It is not running.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("a running Redis").signal(name);
    }

    /// Its URL, also while it is stopped.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// Its port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.claim.port
    }

    /// Its address for `CLUSTER MEET`: host, port and bus port.
    pub(crate) fn cluster_address(&self) -> String {
        format!("127.0.0.1 {} {}", self.port(), self.bus.as_ref().unwrap().port)
    }

    /// A new connection.
    ///
    /// # Errors
    /// Redis is stopped.
    pub async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        // By default the client gives up after half a second.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Runs a command: `redis.command("ZADD {wpclone}:x 1 y")`.
    pub async fn command<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut self.connect().await.unwrap()).await.unwrap()
    }

    /// A number of its INFO, as in `("persistence", "aof_pending_bio_fsync")`.
    pub async fn number(&self, section: &str, name: &str) -> u64 {
        let info: String = self.command(&format!("INFO {section}")).await;
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| *n == name).unwrap().1.parse().unwrap()
    }

    /// Whether everything it has acknowledged is on its disk, and no sync is running. Without further writes this stays so.
    ///
    /// # Panics
    /// It was started without [`Options::simulated_disk`].
    pub async fn is_synced(&self) -> bool {
        let disk = self.disk.as_ref().expect("a simulated disk");
        // In this order: written to the file, synced by the disk, acknowledged to the server.
        self.number("persistence", "aof_buffer_length").await == 0
            && disk.has_all()
            && self.number("persistence", "aof_pending_bio_fsync").await == 0
    }

    /// The contents of all its files: its log and the append-only file, with keys and values.
    #[must_use]
    pub fn raw_files(&self) -> Vec<u8> {
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
