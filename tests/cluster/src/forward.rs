//! A port of this machine that leads to a pod.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long kubectl may take to forward a port.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A forwarded port. It leads to one pod and ends when that does, or when this is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    _child: Child,
    /// kubectl writes a line for each connection.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Forward {
    pub(crate) async fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("kubectl's output")?).lines();
        let line = tokio::time::timeout(START_LIMIT, output.next_line()).await;
        let Some(line) = line.context("the port is not forwarded in time")?? else {
            let mut message = String::new();
            child.stderr.take().context("kubectl's messages")?.read_to_string(&mut message).await?;
            bail!("the port is not forwarded: {}", message.trim_end());
        };
        // `Forwarding from 127.0.0.1:40123 -> 8080`
        let port = line.split_whitespace().find_map(|word| word.strip_prefix("127.0.0.1:")?.parse().ok());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.with_context(|| line.clone())?));
        Ok(Self { address, _child: child, _output: output })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
