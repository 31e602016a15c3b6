//! A Redis server for one test.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::service::{Launch, Service};
use crate::util::{at, base_folder, free_port, installed, unique};
use crate::{LabError, Result};

/// When a write is synced to disk. The append-only file is always on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before Redis acknowledges it (`appendfsync always`).
    #[default]
    Always,
    /// Within a second (`appendfsync everysec`).
    EverySecond,
}

/// A Redis server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    data: PathBuf,
    fsync: Fsync,
    service: Option<Service>,
}

impl Redis {
    /// Starts one on a free port, with an empty folder.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start(fsync: Fsync) -> Result<Self> {
        Self::start_on(free_port()?, fsync).await
    }

    /// The same on a port of one's choice.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start_on(port: u16, fsync: Fsync) -> Result<Self> {
        let data = base_folder().await?.join(unique("redis-data"));
        std::fs::create_dir(&data).map_err(at(&data))?;
        let mut redis = Self { port, data, fsync, service: None };
        redis.start_again().await?;
        Ok(redis)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The folder with its append-only file.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        &self.data
    }

    /// Starts it after it was stopped or killed, on the same port with the same data.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let fsync = if self.fsync == Fsync::Always { "always" } else { "everysec" };
        let (port, data) = (self.port.to_string(), self.data.display().to_string());
        let launch = Launch::new("redis", installed("redis-server")?).args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            &data,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            fsync,
        ]);
        let service = Service::start(launch).await?;
        service.ready(|| answers_ping(self.port)).await?;
        self.service = Some(service);
        Ok(())
    }

    /// Stops it with SIGTERM.
    pub fn stop(&mut self) {
        self.service = None;
    }

    /// Kills it.
    ///
    /// # Errors
    /// It does not die.
    pub async fn kill9(&mut self) -> Result<()> {
        match self.service.take() {
            Some(service) => service.kill9().await,
            None => {
                Err(LabError::Missing { what: "a running Redis".into(), help: "start it before you kill it" })
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.service.take());
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Whether it serves; while it loads its data it answers with an error.
async fn answers_ping(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(&answer == b"+PONG\r\n")
    };
    timeout(Duration::from_secs(1), ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}
