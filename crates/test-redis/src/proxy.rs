//! A network that can be made to fail.

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

/// A way through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Answers.
    ToClient,
}

/// Passes what comes to a port of loopback on to a server, until it is told otherwise. Gone, with all its
/// connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    claim: Claim,
    line: Arc<Line>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    Cut(Option<oneshot::Sender<()>>),
    Heal(oneshot::Sender<()>),
}

/// What all connections have in common.
#[derive(Debug)]
struct Line {
    weather: watch::Sender<Weather>,
    /// How much may still pass this way before all is cut.
    fuse: Mutex<Option<(Direction, usize)>>,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug, Clone, Default)]
struct Weather {
    held: Vec<Direction>,
    delay: Duration,
    cut: bool,
}

impl Proxy {
    /// One in front of this server.
    pub async fn start(server: SocketAddr) -> Self {
        let (orders, heard) = mpsc::unbounded_channel();
        let weather = watch::Sender::new(Weather::default());
        let line = Arc::new(Line { weather, fuse: Mutex::default(), orders: orders.clone() });
        let claim = Claim::any();
        let task = tokio::spawn(serve(claim.port, server, Arc::clone(&line), heard));
        let proxy = Self { claim, line, orders, task };
        proxy.heal().await;
        proxy
    }

    /// One in front of this Redis.
    pub async fn in_front_of(redis: &crate::Redis) -> Self {
        Self::start(([127, 0, 0, 1], redis.port()).into()).await
    }

    /// Where a Redis behind it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.claim.port)
    }

    /// Closes all connections, and refuses new ones. What was under way is lost.
    pub async fn cut(&self) {
        let (done, heard) = oneshot::channel();
        self.order(Order::Cut(Some(done)), heard).await;
    }

    /// Does the same as soon as so many more bytes have passed this way: with few, in the middle of a request, or of
    /// an answer. See [`Proxy::wait_until_cut`].
    pub fn cut_after_bytes(&self, way: Direction, bytes: usize) {
        *self.line.fuse() = Some((way, bytes));
    }

    /// Waits until it is cut.
    ///
    /// # Panics
    /// That takes too long.
    pub async fn wait_until_cut(&self) {
        let mut weather = self.line.weather.subscribe();
        let cut = weather.wait_for(|w| w.cut);
        tokio::time::timeout(PATIENCE, cut).await.expect("the proxy is cut").unwrap();
    }

    /// Takes connections, keeps them, and passes nothing more this way. What comes meanwhile, also an end, is passed
    /// when it heals.
    pub fn hold(&self, ways: &[Direction]) {
        self.line.weather.send_modify(|w| w.held = ways.to_vec());
    }

    /// Passes everything by this much later.
    pub fn delay(&self, delay: Duration) {
        self.line.weather.send_modify(|w| w.delay = delay);
    }

    /// Passes everything at once again, and takes connections.
    pub async fn heal(&self) {
        let (done, heard) = oneshot::channel();
        self.order(Order::Heal(done), heard).await;
    }

    async fn order(&self, order: Order, heard: oneshot::Receiver<()>) {
        self.orders.send(order).unwrap();
        tokio::time::timeout(PATIENCE, heard).await.expect("the proxy obeys").unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections are its children's, and end with it.
        self.task.abort();
    }
}

impl Line {
    fn fuse(&self) -> MutexGuard<'_, Option<(Direction, usize)>> {
        self.fuse.lock()
    }

    /// How many of so many bytes may pass; when it is not all of them, nothing passes any more.
    fn admit(&self, way: Direction, bytes: usize) -> usize {
        let mut fuse = self.fuse();
        match &mut *fuse {
            Some((watched, left)) if *watched == way && *left < bytes => {
                let left = *left;
                *fuse = None;
                self.weather.send_modify(|w| w.held = vec![Direction::ToServer, Direction::ToClient]);
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

async fn serve(port: u16, server: SocketAddr, line: Arc<Line>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut listener = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            client = accept(&listener) => {
                connections.spawn(carry(client, server, Arc::clone(&line)));
            }
            Some(_) = connections.join_next() => {}
            Some(order) = orders.recv() => match order {
                Order::Cut(done) => {
                    listener = None;
                    connections.shutdown().await;
                    line.weather.send_modify(|w| w.cut = true);
                    done.map(|done| done.send(()));
                }
                Order::Heal(done) => {
                    listener.get_or_insert_with(|| reusable(port).listen(128).unwrap());
                    *line.fuse() = None;
                    line.weather.send_replace(Weather::default());
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

async fn carry(client: TcpStream, server: SocketAddr, line: Arc<Line>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // An end is passed on like the rest; an error ends both ways.
    let _ = tokio::try_join!(
        pump(from_client, to_server, Direction::ToServer, &line),
        pump(from_server, to_client, Direction::ToClient, &line),
    );
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Direction,
    line: &Line,
) -> std::io::Result<()> {
    let mut weather = line.weather.subscribe();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let _ = weather.wait_for(|w| !w.held.contains(&way)).await;
        if read == 0 {
            return to.shutdown().await;
        }
        let admitted = line.admit(way, read);
        to.write_all(&buffer[..admitted]).await?;
        if admitted < read {
            let _ = line.orders.send(Order::Cut(None));
            // Closed with the others.
            return std::future::pending().await;
        }
    }
}
