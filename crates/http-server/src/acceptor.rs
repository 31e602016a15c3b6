//! Accepts connections, and keeps those for which there is no place yet.

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::connection_table::{Admission, ConnectionLimits, ConnectionTable, Peer, Place};

/// The delay after a failed accept (no file descriptors, for example).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How often it is looked whether a client has become too slow to keep its place, while others wait.
const SLOW_CLIENTS_INTERVAL: Duration = Duration::from_millis(100);
/// The most connections that wait for a place.
const MAX_WAITING: usize = 64;
/// How often the log may say that connections are refused or wait.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Accepts connections within limits.
pub(crate) struct Acceptor {
    listener: TcpListener,
    table: ConnectionTable,
    /// Accepted connections without a place, oldest first.
    waiting: VecDeque<Waiting>,
    warnings: Warnings,
}

/// A connection that has a place.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) client: SocketAddr,
    pub(crate) place: Place,
}

struct Waiting {
    stream: TcpStream,
    client: SocketAddr,
    peer: Peer,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    PeerLimit,
    Full,
}

impl Refusal {
    /// The response.
    fn response(self) -> String {
        let text = match self {
            Self::PeerLimit => "This address has too many connections in use.",
            Self::Full => "All connections are in use.",
        };
        format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {}\r\nretry-after: 5\r\nconnection: close\r\n\r\n{text}",
            text.len()
        )
    }
}

impl Acceptor {
    pub(crate) fn new(listener: TcpListener, limits: ConnectionLimits) -> Self {
        let table = ConnectionTable::new(limits);
        Self { listener, table, waiting: VecDeque::new(), warnings: Warnings::default() }
    }

    /// The next connection that has a place. While there is none for some, others are accepted: places may be kept for them.
    /// Connections that are refused are closed. Cancel safe.
    pub(crate) async fn next(&mut self) -> Accepted {
        loop {
            let table = self.table.clone();
            let released = table.released();
            if let Some(accepted) = self.admit_waiting() {
                return accepted;
            }
            self.bound_waiting();
            let is_any_waiting = !self.waiting.is_empty();
            if is_any_waiting {
                self.warnings.log("new connections wait: all are in use");
            }
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, client)) => {
                        let peer = Peer::new(client, stream.local_addr().ok());
                        self.waiting.push_back(Waiting { stream, client, peer });
                    }
                    Err(error) => {
                        self.warnings.log(&format!("connections cannot be accepted: {error}"));
                        sleep(ACCEPT_RETRY_DELAY).await;
                    }
                },
                () = released, if is_any_waiting => {}
                () = sleep(SLOW_CLIENTS_INTERVAL), if is_any_waiting => {}
            }
        }
    }

    /// The first of those that wait for which there is a place now.
    fn admit_waiting(&mut self) -> Option<Accepted> {
        let (mut n, mut is_full_for_strangers) = (0, false);
        while let Some(Waiting { peer, .. }) = self.waiting.get(n) {
            let peer = *peer;
            if is_full_for_strangers && !peer.is_local {
                n += 1;
                continue;
            }
            match self.table.admit(peer) {
                Admission::Admitted(place) => {
                    let Waiting { stream, client, .. } = self.waiting.remove(n)?;
                    return Some(Accepted { stream, client, place });
                }
                Admission::PeerLimit => self.refuse(n, Refusal::PeerLimit),
                Admission::Full if peer.is_local => return None,
                Admission::Full => {
                    is_full_for_strangers = true;
                    n += 1;
                }
            }
        }
        None
    }

    /// Refuses a connection when too many wait: the newest of the address of which most do.
    fn bound_waiting(&mut self) {
        if self.waiting.len() <= MAX_WAITING {
            return;
        }
        let mut of_peer = HashMap::<IpAddr, usize>::new();
        for waiting in &self.waiting {
            *of_peer.entry(waiting.peer.key).or_default() += 1;
        }
        let newest_of_most =
            self.waiting.iter().enumerate().max_by_key(|(n, waiting)| (of_peer.get(&waiting.peer.key), *n));
        if let Some((n, _)) = newest_of_most {
            self.refuse(n, Refusal::Full);
        }
    }

    /// Closes a connection that waits, and tells its client why, as far as that is possible without waiting.
    fn refuse(&mut self, n: usize, why: Refusal) {
        let Some(Waiting { stream, client, .. }) = self.waiting.remove(n) else { return };
        self.warnings.log(&format!(
            "connections of {} are refused: {}",
            client.ip(),
            match why {
                Refusal::PeerLimit => "it has too many in use",
                Refusal::Full => "all are in use",
            }
        ));
        if let Ok(mut stream) = stream.into_std() {
            // The stream is non-blocking.
            let _ = stream.write(why.response().as_bytes());
        }
    }
}

/// Limits how often the log says the same.
#[derive(Default)]
struct Warnings {
    last: Option<Instant>,
}

impl Warnings {
    fn log(&mut self, text: &str) {
        if self.last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            self.last = Some(Instant::now());
            tracing::warn!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_length_that_it_declares() {
        for why in [Refusal::PeerLimit, Refusal::Full] {
            let response = why.response();
            let (head, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{response}");
        }
    }
}
