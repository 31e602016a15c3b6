//! Which connections are open, and which one makes room for a new one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of all addresses together.
    pub total: usize,
    /// Of one IPv4 address or one IPv6 network of 64 bits. A proxy in front of the server is one address.
    pub per_peer: usize,
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

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Entry>,
    /// Connections of each peer, and of all, without those that are being evicted.
    of_peer: HashMap<IpAddr, usize>,
    total: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    /// Requests in progress: from their head until the end of their response's body.
    requests: usize,
    /// Whether bytes wait to be written because the client does not read.
    write_blocked: bool,
    idle_since: Instant,
    evicted: bool,
    evict: Arc<Notify>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        self.requests == 0 && !self.write_blocked
    }
}

/// Whether a new connection gets a place.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It does.
    Admitted(Place),
    /// Its peer has too many connections, all in use.
    PeerLimit,
    /// All connections are in use.
    Full,
}

impl ConnectionTable {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self(Arc::new(Inner { limits, open: Mutex::default(), released: Notify::new() }))
    }

    /// A place for a new connection of this peer. An idle connection is evicted when it is needed.
    pub(crate) fn admit(&self, peer: IpAddr) -> Admission {
        let (limits, peer) = (self.0.limits, peer_key(peer));
        let mut open = self.0.open.lock();
        if open.of_peer.get(&peer).copied().unwrap_or(0) >= limits.per_peer
            && !open.evict_idle(|entry| entry.peer == peer)
        {
            return Admission::PeerLimit;
        }
        if open.total >= limits.total && !open.evict_idle(|_| true) {
            return Admission::Full;
        }
        let id = open.next_id;
        open.next_id += 1;
        let evict = Arc::new(Notify::new());
        let entry = Entry {
            peer,
            requests: 0,
            write_blocked: false,
            idle_since: Instant::now(),
            evicted: false,
            evict: Arc::clone(&evict),
        };
        open.connections.insert(id, entry);
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
    fn count(&mut self, peer: IpAddr) {
        self.total += 1;
        *self.of_peer.entry(peer).or_default() += 1;
    }

    fn uncount(&mut self, peer: IpAddr) {
        self.total -= 1;
        let left = self.of_peer.remove(&peer).map_or(0, |count| count - 1);
        if left > 0 {
            self.of_peer.insert(peer, left);
        }
    }

    /// Evicts the connection that has been idle longest. Returns whether there was one.
    fn evict_idle(&mut self, of: impl Fn(&Entry) -> bool) -> bool {
        let idle = self.connections.values_mut().filter(|e| !e.evicted && e.is_idle() && of(e));
        let Some(entry) = idle.min_by_key(|entry| entry.idle_since) else { return false };
        entry.evicted = true;
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
    /// Waits until the connection has to make room for another one. A request that has begun meanwhile is not ended.
    pub(crate) async fn evicted(&self) {
        loop {
            self.evict.notified().await;
            let mut open = self.table.0.open.lock();
            let Some(entry) = open.connections.get_mut(&self.id) else { return };
            if entry.is_idle() {
                return;
            }
            entry.evicted = false;
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
            && !entry.evicted
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
        self.table.update(self.id, |entry| entry.requests += 1);
        RequestGuard(self.clone())
    }

    pub(crate) fn set_write_blocked(&self, blocked: bool) {
        self.table.update(self.id, |entry| entry.write_blocked = blocked);
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
mod tests {
    use super::*;

    fn table(total: usize, per_peer: usize) -> ConnectionTable {
        ConnectionTable::new(ConnectionLimits { total, per_peer })
    }

    fn admitted(table: &ConnectionTable, peer: &str) -> Place {
        match table.admit(peer.parse().unwrap()) {
            Admission::Admitted(place) => place,
            other => panic!("{peer}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_new_connection_replaces_the_one_that_is_idle_longest() {
        let table = table(3, 2);
        let (one, two) = (admitted(&table, "10.0.0.1"), admitted(&table, "10.0.0.1"));
        let busy = two.activity().request();
        // The peer's own idle connection, though others are idle too.
        let _other = admitted(&table, "10.0.0.2");
        let three = admitted(&table, "::ffff:10.0.0.1");
        one.evicted().await;
        drop(one);
        let _busy_too = three.activity().request();
        assert!(matches!(table.admit("10.0.0.1".parse().unwrap()), Admission::PeerLimit));
        // All places are taken: somebody else's idle connection.
        let four = admitted(&table, "10.0.0.3");
        let _busy_as_well = four.activity().request();
        assert!(matches!(table.admit("10.0.0.4".parse().unwrap()), Admission::Full));
        drop(busy);
        let _five = admitted(&table, "10.0.0.4");
        two.evicted().await;
    }

    #[tokio::test]
    async fn a_request_that_begins_before_its_eviction_is_not_ended() {
        let table = table(1, 1);
        let one = admitted(&table, "10.0.0.1");
        let two = admitted(&table, "10.0.0.2");
        let _late = one.activity().request();
        let evicted = tokio::time::timeout(std::time::Duration::from_millis(50), one.evicted());
        assert!(evicted.await.is_err());
        // It counts again.
        drop(two);
        assert!(matches!(table.admit("10.0.0.3".parse().unwrap()), Admission::Full));
        drop(one);
        let open = table.0.open.lock();
        assert!(open.total == 0 && open.of_peer.is_empty() && open.connections.is_empty());
    }

    #[tokio::test]
    async fn a_connection_whose_client_does_not_read_is_in_use() {
        let table = table(1, 1);
        let one = admitted(&table, "10.0.0.1");
        one.activity().set_write_blocked(true);
        assert!(matches!(table.admit("10.0.0.2".parse().unwrap()), Admission::Full));
        one.activity().set_write_blocked(false);
        let _two = admitted(&table, "10.0.0.2");
    }

    #[test]
    fn an_ipv6_network_is_one_peer() {
        let key = |text: &str| peer_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
