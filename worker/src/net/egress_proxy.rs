//! A SOCKS5 proxy (RFC 1928) on loopback, one for each task and each callback. Browser and HTTP client connect through
//! it alone, so that one place resolves names, denies private networks, and records every connection. Only a transfer
//! connects directly, to the addresses that the proxy would choose.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::EgressPolicy;
use super::site_connection::{SiteConnection, SiteEndpoints};

/// The deadline of resolving a name, and of connecting.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// The delay after an accept that failed (no file descriptors, for example).
const ACCEPT_DELAY: Duration = Duration::from_millis(100);
/// Connections that may be open at once through one proxy.
const MAX_CONNECTIONS: usize = 128;
/// The buffer of each direction: a transfer's megabytes go through it.
const BUFFER: usize = 64 << 10;
/// Connections that are kept for the network log.
const MAX_ATTEMPTS: usize = 300;

/// How an attempt to connect ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectOutcome {
    /// Connected.
    Connected,
    /// The address is in a network that is not allowed.
    Denied,
    /// The proxy is restricted to one site, and this is another.
    OtherSite,
    /// The name does not resolve, or the connection failed; why.
    Failed(String),
}

/// An attempt to connect and its outcome.
#[derive(Debug, Clone)]
pub(crate) struct ConnectAttempt {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) outcome: ConnectOutcome,
}

/// The proxy of one task or callback; dropping it closes every connection.
pub(crate) struct EgressProxy {
    address: SocketAddr,
    state: Arc<State>,
    serving: Mutex<Vec<AbortOnDropHandle<()>>>,
}

/// What all connections through one proxy share.
struct State {
    policy: EgressPolicy,
    attempts: Mutex<VecDeque<ConnectAttempt>>,
    /// The only site that is reached, once there is one.
    only_site: OnceLock<SiteEndpoints>,
    /// Places of connections.
    slots: Arc<Semaphore>,
}

impl EgressProxy {
    /// Starts a proxy at a free port of loopback.
    pub(crate) async fn start(policy: impl Into<EgressPolicy>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (attempts, only_site) = (Mutex::default(), OnceLock::new());
        let state = Arc::new(State { policy: policy.into(), attempts, only_site, slots });
        let serving = tokio::spawn(serve(Listener::Tcp(listener), Arc::clone(&state)));
        Ok(Self { address, state, serving: Mutex::new(vec![AbortOnDropHandle::new(serving)]) })
    }

    /// Also accepts connections here: from a browser that has no network of its own.
    pub(crate) fn listen_at(&self, listener: UnixListener) {
        let serving = tokio::spawn(serve(Listener::Unix(listener), Arc::clone(&self.state)));
        self.serving.lock().push(AbortOnDropHandle::new(serving));
    }

    /// From now on nothing that is sent through this proxy reaches another site than this one, over connections that are
    /// open already neither. The first restriction stays for as long as the proxy lives.
    pub(crate) fn restrict_to(&self, site: &Url) {
        self.state.only_site.get_or_init(|| SiteEndpoints::of(site));
    }

    /// Which addresses it may connect to.
    pub(super) fn policy(&self) -> EgressPolicy {
        self.state.policy.clone()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The outcome of the last attempt to connect to this host and port.
    pub(crate) fn last_outcome(&self, host: &str, port: u16) -> Option<ConnectOutcome> {
        let host = normalize_host(host);
        let attempts = self.state.attempts.lock();
        attempts.iter().rev().find(|v| v.host == host && v.port == port).map(|v| v.outcome.clone())
    }

    /// The latest attempts, for the network log.
    pub(crate) fn attempts(&self) -> Vec<ConnectAttempt> {
        self.state.attempts.lock().iter().cloned().collect()
    }
}

/// The host of a URL as [`ConnectAttempt::host`] has it: without brackets, an IPv6 address in its canonical form.
pub(crate) fn normalize_host(host: &str) -> String {
    let host = host.trim_matches(['[', ']']);
    host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |address| address.to_string())
}

/// Where connections come from.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait ClientStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ClientStream for T {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn ClientStream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn serve(listener: Listener, state: Arc<State>) {
    // Dropped with this task, which aborts every connection.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&state.slots).acquire_owned().await else {
            return;
        };
        let client = match listener.accept().await {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(%error, "the egress proxy cannot accept a connection");
                tokio::time::sleep(ACCEPT_DELAY).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let _slot = slot;
            if let Err(error) = serve_connection(client, &state).await {
                tracing::debug!(%error, "a connection through the egress proxy ended");
            }
        });
    }
}

async fn serve_connection(mut client: Box<dyn ClientStream>, state: &State) -> io::Result<()> {
    let (host, port) = timeout(HANDSHAKE_DEADLINE, handshake(&mut client)).await??;
    let reached = connect(&host, port, state).await;
    // Reply codes of RFC 1928, section 6: 0 succeeded, 2 not allowed, 4 host unreachable.
    let (code, outcome) = match &reached {
        Ok(_) => (0, ConnectOutcome::Connected),
        Err(denied @ (ConnectOutcome::Denied | ConnectOutcome::OtherSite)) => (2, denied.clone()),
        Err(other) => (4, other.clone()),
    };
    {
        let mut attempts = state.attempts.lock();
        if attempts.len() == MAX_ATTEMPTS {
            attempts.pop_front();
        }
        attempts.push_back(ConnectAttempt { host: host.clone(), port, outcome });
    }
    client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if let Ok(site) = reached {
        let mut site = SiteConnection::new(site, &host, port, &state.only_site);
        copy_bidirectional_with_sizes(&mut client, &mut site, BUFFER, BUFFER).await?;
    }
    Ok(())
}

/// The greeting without authentication, then a CONNECT; returns its host and port.
async fn handshake(client: &mut Box<dyn ClientStream>) -> io::Result<(String, u16)> {
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
            String::from_utf8(name).map_err(|_| wrong("a host that is not UTF-8"))?
        }
        _ => return Err(wrong("an unknown address type")),
    };
    Ok((host, u16::from_be_bytes(read(client).await?)))
}

async fn read<const N: usize>(client: &mut Box<dyn ClientStream>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Connects to the first address of the host that is allowed.
async fn connect(host: &str, port: u16, state: &State) -> Result<TcpStream, ConnectOutcome> {
    if state.only_site.get().is_some_and(|site| !site.are_at(host, port)) {
        return Err(ConnectOutcome::OtherSite);
    }
    let addresses = state.policy.addresses(host, port).await?;
    timeout(CONNECT_DEADLINE, TcpStream::connect(addresses.as_slice()))
        .await
        .map_err(timed_out)?
        .map_err(failed)
}

pub(super) fn failed(error: io::Error) -> ConnectOutcome {
    ConnectOutcome::Failed(error.to_string())
}

pub(super) fn timed_out(_: Elapsed) -> ConnectOutcome {
    ConnectOutcome::Failed("it did not respond in time".into())
}
