//! A SOCKS5 proxy (RFC 1928) on loopback, one for each task and each callback. Browser and HTTP client reach others
//! through it alone, so that one place resolves names, refuses private networks, and knows what was connected to. Only a
//! transfer connects by itself, at the addresses that a gate would take.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::net::AllowedNetworks;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait after an accept that failed (no file descriptors, for example).
const AFTER_FAULT: Duration = Duration::from_millis(100);
/// Connections that may be open at once through one gate.
const MAX_CONNECTIONS: usize = 128;
/// Bytes that are passed on at a time, each way: a transfer's megabytes go through here.
const PASSED: usize = 64 << 10;
/// Connections remembered for the network log.
const MAX_LOG: usize = 300;

/// Where a gate lets through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways {
    /// Private networks that are allowed.
    pub(crate) networks: AllowedNetworks,
    /// Our own clones, which always are.
    pub(crate) clones: Option<OwnClones>,
}

/// Where our own clones are.
#[derive(Debug, Clone)]
pub(crate) struct OwnClones {
    /// The host of their base address; clones may be at names below it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Who answers for them, when that is this machine: their names need not be known to it.
    pub(crate) listener: Option<SocketAddr>,
}

impl Ways {
    fn own(&self, host: &str, port: u16) -> Option<&OwnClones> {
        let is_ours = |own: &&OwnClones| {
            let below = host.strip_suffix(own.host.as_str());
            own.port == port && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        };
        self.clones.as_ref().filter(is_ours)
    }

    /// The addresses of a host that may be connected to. Names are resolved here and nowhere else, so that what was
    /// checked is what is connected to.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Outcome> {
        let own = self.own(host, port);
        if let Some(listener) = own.and_then(|own| own.listener) {
            return Ok(vec![listener]);
        }
        let found = timeout(CONNECT_LIMIT, lookup_host((host, port))).await.map_err(slow)?.map_err(failed)?;
        let all: Vec<SocketAddr> = found.take(16).collect();
        let allowed: Vec<SocketAddr> =
            all.iter().copied().filter(|a| own.is_some() || self.networks.allow(a.ip())).collect();
        if allowed.is_empty() && !all.is_empty() { Err(Outcome::Denied) } else { Ok(allowed) }
    }
}

impl From<AllowedNetworks> for Ways {
    fn from(networks: AllowedNetworks) -> Self {
        Self { networks, clones: None }
    }
}

/// What became of a wish to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Connected.
    Open,
    /// The address is in a network that was not allowed.
    Denied,
    /// It has no address, or nothing answers there.
    Failed(String),
}

/// A wish to connect and its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) outcome: Outcome,
}

/// The gate of one task or callback; dropping it closes every connection.
pub(crate) struct Gate {
    address: SocketAddr,
    visits: Arc<Mutex<VecDeque<Visit>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Gate {
    pub(crate) async fn open(ways: impl Into<Ways>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let visits = Arc::new(Mutex::new(VecDeque::new()));
        let serving = tokio::spawn(serve(listener, Arc::new(ways.into()), Arc::clone(&visits)));
        Ok(Self { address, visits, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The outcome of the latest connection to this host and port.
    pub(crate) fn latest(&self, host: &str, port: u16) -> Option<Outcome> {
        let host = as_visited(host);
        let visits = self.visits.lock();
        visits.iter().rev().find(|v| v.host == host && v.port == port).map(|v| v.outcome.clone())
    }

    /// All connections, for the network log.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.visits.lock().iter().cloned().collect()
    }
}

/// A host of a URL as visits have it. Addresses come through the proxy as bytes: there is more than one way to write an
/// IPv6 address.
pub(crate) fn as_visited(host: &str) -> String {
    let host = host.trim_matches(['[', ']']);
    host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |address| address.to_string())
}

async fn serve(listener: TcpListener, ways: Arc<Ways>, visits: Arc<Mutex<VecDeque<Visit>>>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Ends with this task: every connection is aborted when the set is dropped.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%error, "the gate cannot accept a connection");
                tokio::time::sleep(AFTER_FAULT).await;
                continue;
            }
        };
        let (ways, visits) = (Arc::clone(&ways), Arc::clone(&visits));
        connections.spawn(async move {
            let _slot = slot;
            if let Err(error) = pass(client, &ways, &visits).await {
                tracing::debug!(%error, "a connection through the gate ended");
            }
        });
    }
}

async fn pass(mut client: TcpStream, ways: &Ways, visits: &Mutex<VecDeque<Visit>>) -> io::Result<()> {
    let (host, port) = timeout(HANDSHAKE_LIMIT, handshake(&mut client)).await??;
    let reached = connect(&host, port, ways).await;
    // Reply codes of RFC 1928, section 6: 0 succeeded, 2 not allowed, 4 host unreachable.
    let (code, outcome) = match &reached {
        Ok(_) => (0, Outcome::Open),
        Err(Outcome::Denied) => (2, Outcome::Denied),
        Err(other) => (4, other.clone()),
    };
    {
        let mut visits = visits.lock();
        if visits.len() == MAX_LOG {
            visits.pop_front();
        }
        visits.push_back(Visit { host, port, outcome });
    }
    client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if let Ok(mut site) = reached {
        copy_bidirectional_with_sizes(&mut client, &mut site, PASSED, PASSED).await?;
    }
    Ok(())
}

/// Greeting without authentication, then a CONNECT.
async fn handshake(client: &mut TcpStream) -> io::Result<(String, u16)> {
    let wrong = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let [version, methods] = read(client).await?;
    if version != 5 {
        return Err(wrong("not SOCKS5"));
    }
    client.read_exact(&mut vec![0; usize::from(methods)]).await?;
    client.write_all(&[5, 0]).await?;
    let [5, 1, 0, kind] = read(client).await? else {
        return Err(wrong("not a CONNECT"));
    };
    let host = match kind {
        1 => IpAddr::from(read::<4>(client).await?).to_string(),
        4 => IpAddr::from(read::<16>(client).await?).to_string(),
        3 => {
            let [length] = read(client).await?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| wrong("a host that is no text"))?
        }
        _ => return Err(wrong("an unknown kind of address")),
    };
    Ok((host, u16::from_be_bytes(read(client).await?)))
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Connects to the first address of the host that is allowed.
async fn connect(host: &str, port: u16, ways: &Ways) -> Result<TcpStream, Outcome> {
    let addresses = ways.addresses(host, port).await?;
    timeout(CONNECT_LIMIT, TcpStream::connect(addresses.as_slice())).await.map_err(slow)?.map_err(failed)
}

fn failed(error: io::Error) -> Outcome {
    Outcome::Failed(error.to_string())
}

fn slow(_: Elapsed) -> Outcome {
    Outcome::Failed("it did not answer in time".into())
}
