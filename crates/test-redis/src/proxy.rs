//! A network that can fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::port::{Claim, reusable};
use crate::redis::PATIENCE;

/// A direction through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Answers.
    ToClient,
}

/// Forwards connections on a port of loopback to a server. It is removed with its connections on drop.
#[derive(Debug)]
pub struct Proxy {
    claim: Claim,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    Cut(Option<oneshot::Sender<()>>),
    Heal(oneshot::Sender<()>),
}

/// The state shared by all connections.
#[derive(Debug)]
struct Shared {
    conditions: watch::Sender<Conditions>,
    /// How many bytes may still pass in a direction before everything is cut.
    byte_limit: Mutex<Option<(Direction, usize)>>,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug, Clone, Default)]
struct Conditions {
    held: Vec<Direction>,
    delay: Duration,
    cut: bool,
}

impl Proxy {
    /// Starts a proxy in front of this server.
    pub async fn start(server: SocketAddr) -> Self {
        let (orders, receiver) = mpsc::unbounded_channel();
        let conditions = watch::Sender::new(Conditions::default());
        let shared = Arc::new(Shared { conditions, byte_limit: Mutex::default(), orders: orders.clone() });
        let claim = Claim::any();
        let task = tokio::spawn(serve(claim.port, server, Arc::clone(&shared), receiver));
        let proxy = Self { claim, shared, orders, task };
        proxy.heal().await;
        proxy
    }

    /// Starts a proxy in front of this Redis.
    pub async fn in_front_of(redis: &crate::Redis) -> Self {
        Self::start(([127, 0, 0, 1], redis.port()).into()).await
    }

    /// The URL of the Redis behind it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.claim.port)
    }

    /// Closes all connections and refuses new ones. Data in transit is lost.
    pub async fn cut(&self) {
        let (done, receiver) = oneshot::channel();
        self.order(Order::Cut(Some(done)), receiver).await;
    }

    /// Cuts once this many more bytes have passed in a direction: with few, in the middle of a request or an answer. See
    /// [`Proxy::wait_until_cut`].
    pub fn cut_after_bytes(&self, way: Direction, bytes: usize) {
        *self.shared.byte_limit() = Some((way, bytes));
    }

    /// Waits until it is cut.
    ///
    /// # Panics
    /// It takes too long.
    pub async fn wait_until_cut(&self) {
        let mut conditions = self.shared.conditions.subscribe();
        let cut = conditions.wait_for(|w| w.cut);
        tokio::time::timeout(PATIENCE, cut).await.expect("the proxy is cut").unwrap();
    }

    /// Accepts and keeps connections, but forwards nothing in these directions. Data, and the end of a connection, are forwarded
    /// after `heal`.
    pub fn hold(&self, ways: &[Direction]) {
        self.shared.conditions.send_modify(|w| w.held = ways.to_vec());
    }

    /// Delays everything by this much.
    pub fn delay(&self, delay: Duration) {
        self.shared.conditions.send_modify(|w| w.delay = delay);
    }

    /// Forwards everything without delay again, and accepts connections.
    pub async fn heal(&self) {
        let (done, receiver) = oneshot::channel();
        self.order(Order::Heal(done), receiver).await;
    }

    async fn order(&self, order: Order, receiver: oneshot::Receiver<()>) {
        self.orders.send(order).unwrap();
        tokio::time::timeout(PATIENCE, receiver).await.expect("the proxy obeys").unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections belong to the task and end with it.
        self.task.abort();
    }
}

impl Shared {
    fn byte_limit(&self) -> MutexGuard<'_, Option<(Direction, usize)>> {
        self.byte_limit.lock()
    }

    /// How many of these bytes may pass. If not all may, nothing passes after them.
    fn admit(&self, way: Direction, bytes: usize) -> usize {
        let mut byte_limit = self.byte_limit();
        match &mut *byte_limit {
            Some((watched, left)) if *watched == way && *left < bytes => {
                let left = *left;
                *byte_limit = None;
                self.conditions.send_modify(|w| w.held = vec![Direction::ToServer, Direction::ToClient]);
                left
            }
            Some((watched, left)) if *watched == way => {
                *left -= bytes;
                bytes
            }
            _ => bytes,
        }
    }
}

async fn serve(
    port: u16,
    server: SocketAddr,
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut listener = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            client = accept(&listener) => {
                connections.spawn(carry(client, server, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
            Some(order) = orders.recv() => match order {
                Order::Cut(done) => {
                    listener = None;
                    connections.shutdown().await;
                    shared.conditions.send_modify(|w| w.cut = true);
                    done.map(|done| done.send(()));
                }
                Order::Heal(done) => {
                    listener.get_or_insert_with(|| reusable(port).listen(128).unwrap());
                    *shared.byte_limit() = None;
                    shared.conditions.send_replace(Conditions::default());
                    let _ = done.send(());
                }
            },
        }
    }
}

async fn accept(listener: &Option<TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => std::future::pending().await,
    }
}

async fn carry(client: TcpStream, server: SocketAddr, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The end of one direction is forwarded; an error ends both directions.
    let _ = tokio::try_join!(
        pump(from_client, to_server, Direction::ToServer, &shared),
        pump(from_server, to_client, Direction::ToClient, &shared),
    );
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Direction,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut conditions = shared.conditions.subscribe();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        let delay = conditions.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let _ = conditions.wait_for(|w| !w.held.contains(&way)).await;
        if read == 0 {
            return to.shutdown().await;
        }
        let admitted = shared.admit(way, read);
        to.write_all(&buffer[..admitted]).await?;
        if admitted < read {
            let _ = shared.orders.send(Order::Cut(None));
            // It is closed with the others.
            return std::future::pending().await;
        }
    }
}
