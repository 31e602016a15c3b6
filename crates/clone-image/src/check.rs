//! Whether the clone is served, for the health check of a container engine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wpclone_provision::clone_image::{PORT, READY_PATH};

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The first bytes of a response of success.
const SUCCESS: &[u8] = b"HTTP/1.1 200";

/// Fails unless `serve` is ready.
pub(crate) fn check() -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).context("nothing is served")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {READY_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; SUCCESS.len()];
    stream.read_exact(&mut head).context("there is no answer")?;
    ensure!(head == SUCCESS, "PHP does not run");
    Ok(())
}
