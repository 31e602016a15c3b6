//! Which addresses may be connected to.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use url::Url;

use super::egress_proxy::{CONNECT_DEADLINE, ConnectOutcome, failed, timed_out};
use super::{AllowedNetworks, normalize_host};

/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 16;
/// The most names that a task looks up at once: as many as a browser has connections to its proxy.
const MAX_LOOKUPS: usize = 32;
/// The ports of web servers, which everybody can reach at a public address.
const WEB_PORTS: [u16; 2] = [80, 443];
/// An address of TEST-NET-1 (RFC 5737), which no machine has.
const NOBODYS_ADDRESS: &str = "192.0.2.1";

/// What holds for all connections of this worker, whatever the task.
#[derive(Debug, Clone, Default)]
pub(crate) struct EgressRules {
    /// Private networks that are allowed.
    pub(crate) networks: AllowedNetworks,
    /// Our own clones, which only the task of a clone may connect to.
    pub(crate) clones: Option<OwnClones>,
    /// Listeners of this worker and its Redis, which are denied even when their network is allowed.
    pub(crate) own_endpoints: Arc<[SocketAddr]>,
}

/// The addresses of our own clones.
#[derive(Debug, Clone)]
pub(crate) struct OwnClones {
    /// The host of their base address, an IPv6 address without brackets; clones may have subdomains of it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Where they are served, when that is this machine: their names need not resolve on it.
    pub(crate) listener: Option<SocketAddr>,
}

/// Which addresses one task, or one callback, may connect to.
#[derive(Debug, Clone, Default)]
pub(crate) struct EgressPolicy {
    rules: EgressRules,
    /// The sites that the task's owner named.
    named: Vec<Endpoint>,
    /// The clone that the task made.
    clone: Option<Endpoint>,
    lookups: Lookups,
}

/// Permits for looking up names.
#[derive(Debug, Clone)]
struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LOOKUPS)))
    }
}

/// A host without a final dot, and a port.
type Endpoint = (String, u16);

impl EgressRules {
    /// The policy of a task that works with these sites, and with a clone of ours that it made.
    pub(crate) fn for_task<'a>(
        &self,
        named: impl IntoIterator<Item = &'a Url>,
        clone: Option<&Url>,
    ) -> EgressPolicy {
        EgressPolicy {
            rules: self.clone(),
            named: named.into_iter().filter_map(endpoint).collect(),
            clone: clone.and_then(endpoint),
            lookups: Lookups::default(),
        }
    }
}

impl From<EgressRules> for EgressPolicy {
    fn from(rules: EgressRules) -> Self {
        Self { rules, ..Self::default() }
    }
}

impl From<AllowedNetworks> for EgressPolicy {
    fn from(networks: AllowedNetworks) -> Self {
        EgressRules { networks, ..EgressRules::default() }.into()
    }
}

impl OwnClones {
    fn is_at(&self, (host, port): &Endpoint) -> bool {
        let below = host.strip_suffix(self.host.as_str());
        self.port == *port && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    }
}

impl EgressPolicy {
    /// The allowed addresses of a host. Names are resolved only here, so that the connection goes to the very address
    /// that was checked.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectOutcome> {
        let endpoint = (without_final_dot(&normalize_host(host)), port);
        let clones = self.rules.clones.as_ref().filter(|clones| clones.is_at(&endpoint));
        let is_own_clone = clones.is_some() && self.clone.as_ref() == Some(&endpoint);
        let is_named = self.named.contains(&endpoint);
        if clones.is_some() && !is_own_clone && !is_named {
            return Err(ConnectOutcome::Denied);
        }
        let all = match clones.and_then(|clones| clones.listener) {
            Some(listener) => vec![listener],
            None => self.lookups.resolve(host, port).await?,
        };
        // A clone that the owner named has to be in a network that sites may be in, as any site.
        let is_allowed = |address: &SocketAddr| {
            is_own_clone
                || self.allows(*address) && (clones.is_some() || !self.rules.is_own_endpoint(*address))
        };
        let allowed: Vec<SocketAddr> = all.iter().copied().filter(is_allowed).collect();
        if allowed.is_empty() && !all.is_empty() { Err(ConnectOutcome::Denied) } else { Ok(allowed) }
    }

    /// The addresses of a host, whether they are allowed or not; none if it does not resolve.
    pub(super) async fn all_addresses(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        self.lookups.resolve(host, port).await.unwrap_or_default()
    }

    fn allows(&self, address: SocketAddr) -> bool {
        let networks = &self.rules.networks;
        // At its own public addresses this machine may serve to itself what a firewall keeps from others.
        networks.contain(address.ip())
            || networks.allow(address.ip())
                && (WEB_PORTS.contains(&address.port()) || !is_address_of_this_machine(address.ip()))
    }
}

impl EgressRules {
    fn is_own_endpoint(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.own_endpoints.iter().any(|own| {
            let is_here = |ip: IpAddr| ip.is_unspecified() || is_address_of_this_machine(ip);
            own.port() == address.port() && (own.ip() == ip || is_here(own.ip()) && is_here(ip))
        })
    }
}

impl Lookups {
    /// The addresses of a host.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectOutcome> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        timeout(CONNECT_DEADLINE, self.look_up(host, port)).await.map_err(timed_out)?.map_err(failed)
    }

    /// Looks up a name in a thread of its own. It takes as long as the system's resolver waits for name servers, which are a
    /// stranger's, also when nobody waits for it any more: the runtime's threads would be in use for as long.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let (found, answer) = oneshot::channel();
        let host = host.to_owned();
        thread::Builder::new().name("lookup".into()).spawn(move || {
            let _permit = permit;
            let all = (host.as_str(), port).to_socket_addrs();
            // Nobody may wait for it any more.
            let _ = found.send(all.map(|all| all.take(MAX_ADDRESSES).collect()));
        })?;
        answer.await.map_err(io::Error::other)?
    }
}

fn endpoint(url: &Url) -> Option<Endpoint> {
    Some((without_final_dot(&normalize_host(url.host_str()?)), url.port_or_known_default()?))
}

pub(super) fn without_final_dot(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_owned()
}

/// Whether an interface of this machine has the address: only then a socket can be bound to it.
fn is_address_of_this_machine(ip: IpAddr) -> bool {
    let can_bind = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    // With the sysctl ip_nonlocal_bind any address can be bound, and nothing can be said.
    let is_told = || NOBODYS_ADDRESS.parse().is_ok_and(|nobodys| !can_bind(nobodys));
    ip.is_loopback() || can_bind(ip) && is_told()
}

#[cfg(test)]
mod tests;
