//! A process beside a browser that has no network: it starts the driver, and relays connections between them and the
//! worker by sockets in their folder, which is its working folder.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The argument that makes this program the relay of a driver, whose path follows it.
pub(super) const ARGUMENT: &str = "relay-browser";
/// The socket of the driver. It exists once the driver is ready.
pub(super) const DRIVER_SOCKET: &str = "driver.sock";
const NEW_SOCKET: &str = "driver.sock.new";
/// The socket where the worker's egress proxy listens.
pub(super) const PROXY_SOCKET: &str = "proxy.sock";
/// The ports in the browser's network namespace, where nothing else listens.
pub(super) const PROXY_PORT: u16 = 1080;
pub(super) const DRIVER_PORT: u16 = 9515;

/// The deadline of the driver's start.
const START_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// Connections that may be open at once; Chromium opens at most 32 to a proxy, and the worker a few.
const MAX_CONNECTIONS: usize = 128;

/// Becomes the relay and does not return, if this program was started as one.
pub(crate) fn run_if_relay() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == ARGUMENT)
        && let Some(driver) = args.next()
    {
        let ended = run(Path::new(&driver));
        if let Err(error) = &ended {
            eprintln!("the browser's relay: {error}");
        }
        std::process::exit(i32::from(ended.is_err()));
    }
}

fn run(driver: &Path) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(relay(driver))
}

/// Relays until the driver ends.
async fn relay(driver: &Path) -> io::Result<ExitCode> {
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT)).await?;
    let mut child = Command::new(driver)
        .args([format!("--port={DRIVER_PORT}"), "--log-level=SEVERE".into()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    timeout(START_DEADLINE, driver_ready(&mut child)).await??;
    // Renamed once it listens: from then on it exists for the worker.
    let control = UnixListener::bind(NEW_SOCKET)?;
    std::fs::rename(NEW_SOCKET, DRIVER_SOCKET)?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
        tokio::select! {
            _ = child.wait() => return Ok(ExitCode::SUCCESS),
            accepted = control.accept() => {
                let (client, _) = accepted?;
                tokio::spawn(async move {
                    let _slot = slot;
                    connect(client, TcpStream::connect((Ipv4Addr::LOCALHOST, DRIVER_PORT))).await;
                });
            }
            accepted = proxy.accept() => {
                let (client, _) = accepted?;
                tokio::spawn(async move {
                    let _slot = slot;
                    connect(client, UnixStream::connect(PROXY_SOCKET)).await;
                });
            }
        }
    }
}

async fn driver_ready(child: &mut Child) -> io::Result<()> {
    while TcpStream::connect((Ipv4Addr::LOCALHOST, DRIVER_PORT)).await.is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the driver ended: {status}")));
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Copies in both directions; a side that is gone closes the other.
async fn connect<C, S>(mut client: C, server: impl Future<Output = io::Result<S>>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Ok(mut server) = server.await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
