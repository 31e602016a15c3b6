//! Which connections are open, and which one makes room for a new one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::lag::{Lag, MIN_BYTES_PER_SECOND};

/// How many connections may be open, and how slow a client may be that keeps its place when another needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of all addresses together.
    pub total: usize,
    /// How many of `total` are kept for programs of this machine: for clients that have the very address that they
    /// connected to.
    pub reserved_for_local: usize,
    /// Of one IPv4 address or one IPv6 network of 64 bits. A proxy in front of the server is one address.
    pub per_peer: usize,
    /// How far a client may be behind [`MIN_BYTES_PER_SECOND`]; see [`crate::MAX_LAG`].
    pub max_lag: Duration,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// What counts as one address.
    pub(crate) key: IpAddr,
    /// Whether it is a program of this machine.
    pub(crate) is_local: bool,
}

impl Peer {
    /// `server` is the address that the client connected to. Only a program of this machine has that address itself: the
    /// kernel drops packets from outside that claim it.
    pub(crate) fn new(client: SocketAddr, server: Option<SocketAddr>) -> Self {
        let is_local = server.is_some_and(|server| server.ip().to_canonical() == client.ip().to_canonical());
        Self { key: peer_key(client.ip()), is_local }
    }
}

/// The open connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionTable(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: ConnectionLimits,
    open: Mutex<Open>,
    /// A connection was closed or became idle.
    released: Notify,
}

/// The counts are without connections that are being evicted.
#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Entry>,
    of_peer: HashMap<IpAddr, usize>,
    /// Those that are not local.
    strangers: usize,
    total: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    /// Requests in progress: from their head until the end of their response's body.
    requests: usize,
    /// Whether bytes wait to be written because the client does not read.
    write_blocked: bool,
    /// Whether the client has not sent what comes next of a request's body.
    body_blocked: bool,
    /// How slow the client is in the request in progress, until `waiting_since`.
    lag: Lag,
    /// Since when the client is waited for.
    waiting_since: Option<Instant>,
    idle_since: Instant,
    evicted: Option<Reason>,
    evict: Arc<Notify>,
}

/// Why a connection makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Idle,
    TooSlow,
}

impl Entry {
    fn new(peer: Peer, evict: Arc<Notify>) -> Self {
        Self {
            peer,
            requests: 0,
            write_blocked: false,
            body_blocked: false,
            lag: Lag::new(MIN_BYTES_PER_SECOND),
            waiting_since: None,
            idle_since: Instant::now(),
            evicted: None,
            evict,
        }
    }

    fn is_idle(&self) -> bool {
        self.requests == 0 && !self.write_blocked
    }

    /// How far the client is behind the least speed.
    fn behind(&self, now: Instant) -> Duration {
        self.lag.behind() + self.waiting_since.map_or(Duration::ZERO, |since| now - since)
    }

    /// Counts the time since the client is waited for, and the bytes that it has sent or taken. It is waited for further
    /// while either direction is blocked.
    fn update_lag(&mut self, bytes: usize) {
        let now = Instant::now();
        if let Some(since) = self.waiting_since {
            self.lag.add_wait(now - since);
        }
        self.lag.add_bytes(bytes);
        self.waiting_since = (self.write_blocked || self.body_blocked).then_some(now);
    }
}

/// Whether a new connection gets a place.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It does.
    Admitted(Place),
    /// Its peer has too many connections, all in use.
    PeerLimit,
    /// All connections that it could have are in use.
    Full,
}

impl ConnectionTable {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self(Arc::new(Inner { limits, open: Mutex::default(), released: Notify::new() }))
    }

    /// A place for a new connection of this peer. Where there is none, an idle connection is evicted, or else one whose
    /// client is too slow; of the peer itself when that is at its limit, and never a local one for a stranger that is slow.
    pub(crate) fn admit(&self, peer: Peer) -> Admission {
        let limits = self.0.limits;
        let mut open = self.0.open.lock();
        if open.of_peer.get(&peer.key).copied().unwrap_or(0) >= limits.per_peer {
            let is_of_peer = |entry: &Entry| entry.peer.key == peer.key;
            if !open.evict_idle(is_of_peer) && !open.evict_slowest(limits.max_lag, is_of_peer) {
                return Admission::PeerLimit;
            }
        }
        let strangers_are_full =
            !peer.is_local && open.strangers >= limits.total.saturating_sub(limits.reserved_for_local);
        if strangers_are_full || open.total >= limits.total {
            let may_be_idle = |entry: &Entry| !strangers_are_full || !entry.peer.is_local;
            let may_be_slow = |entry: &Entry| peer.is_local || !entry.peer.is_local;
            if !open.evict_idle(may_be_idle) && !open.evict_slowest(limits.max_lag, may_be_slow) {
                return Admission::Full;
            }
        }
        let id = open.next_id;
        open.next_id += 1;
        let evict = Arc::new(Notify::new());
        open.connections.insert(id, Entry::new(peer, Arc::clone(&evict)));
        open.count(peer);
        Admission::Admitted(Place { table: self.clone(), id, evict })
    }

    /// Waits until a connection is closed or becomes idle. Created before [`Self::admit`] is called, it misses none.
    pub(crate) fn released(&self) -> Notified<'_> {
        self.0.released.notified()
    }

    fn update(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        let mut open = self.0.open.lock();
        let Some(entry) = open.connections.get_mut(&id) else { return };
        let was_idle = entry.is_idle();
        change(entry);
        if entry.is_idle() && !was_idle {
            entry.idle_since = Instant::now();
            drop(open);
            self.0.released.notify_waiters();
        }
    }
}

impl Open {
    fn count(&mut self, peer: Peer) {
        self.total += 1;
        self.strangers += usize::from(!peer.is_local);
        *self.of_peer.entry(peer.key).or_default() += 1;
    }

    fn uncount(&mut self, peer: Peer) {
        self.total -= 1;
        self.strangers -= usize::from(!peer.is_local);
        let left = self.of_peer.remove(&peer.key).map_or(0, |count| count - 1);
        if left > 0 {
            self.of_peer.insert(peer.key, left);
        }
    }

    /// Evicts the connection that has been idle longest. Returns whether there was one.
    fn evict_idle(&mut self, of: impl Fn(&Entry) -> bool) -> bool {
        let idle = self.connections.iter().filter(|(_, e)| e.evicted.is_none() && e.is_idle() && of(e));
        let longest = idle.min_by_key(|(_, entry)| entry.idle_since).map(|(id, _)| *id);
        self.evict(longest, Reason::Idle)
    }

    /// Evicts a connection whose client is further behind the least speed than `max_lag`: the slowest of the peer that has
    /// the most connections. Returns whether there was one.
    fn evict_slowest(&mut self, max_lag: Duration, of: impl Fn(&Entry) -> bool) -> bool {
        let now = Instant::now();
        let slow = self.connections.iter().filter_map(|(id, entry)| {
            let behind = entry.behind(now);
            let is_slow = entry.evicted.is_none() && !entry.is_idle() && behind > max_lag && of(entry);
            is_slow.then(|| (self.of_peer.get(&entry.peer.key), behind, *id))
        });
        let slowest = slow.max().map(|(_, _, id)| id);
        self.evict(slowest, Reason::TooSlow)
    }

    fn evict(&mut self, id: Option<u64>, reason: Reason) -> bool {
        let Some(id) = id else { return false };
        let Some(entry) = self.connections.get_mut(&id) else { return false };
        entry.evicted = Some(reason);
        entry.evict.notify_one();
        let peer = entry.peer;
        self.uncount(peer);
        true
    }
}

/// The place of a connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    table: ConnectionTable,
    id: u64,
    evict: Arc<Notify>,
}

impl Place {
    /// Waits until the connection has to make room for another one. An idle one in which a request has begun meanwhile
    /// stays.
    pub(crate) async fn evicted(&self) {
        loop {
            self.evict.notified().await;
            let mut open = self.table.0.open.lock();
            let Some(entry) = open.connections.get_mut(&self.id) else { return };
            if entry.evicted == Some(Reason::TooSlow) || entry.is_idle() {
                return;
            }
            entry.evicted = None;
            let peer = entry.peer;
            open.count(peer);
        }
    }

    /// What reports the connection's activity.
    pub(crate) fn activity(&self) -> Activity {
        Activity { table: self.table.clone(), id: self.id }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.table.0.open.lock();
        if let Some(entry) = open.connections.remove(&self.id)
            && entry.evicted.is_none()
        {
            open.uncount(entry.peer);
        }
        drop(open);
        self.table.0.released.notify_waiters();
    }
}

/// Reports what a connection does.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    table: ConnectionTable,
    id: u64,
}

impl Activity {
    /// A request is in progress until the guard is dropped.
    pub(crate) fn request(&self) -> RequestGuard {
        self.table.update(self.id, |entry| {
            if entry.is_idle() {
                entry.lag = Lag::new(MIN_BYTES_PER_SECOND);
            }
            entry.requests += 1;
        });
        RequestGuard(self.clone())
    }

    /// The client has taken some bytes, and may not take the next ones yet.
    pub(crate) fn wrote(&self, bytes: usize, is_blocked: bool) {
        self.table.update(self.id, |entry| {
            entry.write_blocked = is_blocked;
            entry.update_lag(bytes);
        });
    }

    /// The client has sent some bytes of a body, and may not have sent the next ones yet.
    pub(crate) fn received(&self, bytes: usize, is_blocked: bool) {
        self.table.update(self.id, |entry| {
            entry.body_blocked = is_blocked;
            entry.update_lag(bytes);
        });
    }
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct RequestGuard(Activity);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.table.update(self.0.id, |entry| entry.requests -= 1);
    }
}

/// What counts as one peer.
fn peer_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests;
