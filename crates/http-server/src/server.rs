//! Serves connections, and drains them at shutdown.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Body;
use hyper::server::conn::http1::Builder;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::acceptor::{Accepted, Acceptor};
use crate::connection_table::{ConnectionLimits, Place};
use crate::tracked::{RequestBody, TrackedService, TrackedStream};

/// A good [`ConnectionLimits::max_lag`]: long enough for a network that stalls for a moment.
pub const MAX_LAG: Duration = Duration::from_secs(5);

/// The limits and timeouts of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    /// How many connections may be open.
    pub connections: ConnectionLimits,
    /// The timeout for receiving the head of a request, also on an idle connection.
    pub head_timeout: Duration,
    /// The timeout for a client that reads nothing of its response.
    pub write_timeout: Duration,
    /// The largest head of a request, in bytes.
    pub max_head_bytes: usize,
    /// The most headers of a request.
    pub max_headers: usize,
    /// How long new connections are still accepted during shutdown.
    pub unready_period: Duration,
    /// The timeout for open requests after that.
    pub drain_timeout: Duration,
}

/// Serves until `shutdown` is cancelled, then drains. `service` makes the service of a connection from its client's
/// address.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: impl Fn(SocketAddr) -> S,
    options: ServerOptions,
    shutdown: CancellationToken,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let draining = GracefulShutdown::new();
    let mut acceptor = Acceptor::new(listener, options.connections);
    let stop_accepting = async {
        shutdown.cancelled().await;
        sleep(options.unready_period).await;
    };
    tokio::pin!(stop_accepting);
    loop {
        let Accepted { stream, client, place } = tokio::select! {
            next = acceptor.next() => next,
            () = &mut stop_accepting => break,
        };
        let service = TrackedService { inner: service(client), activity: place.activity() };
        tokio::spawn(serve_connection(&draining, stream, place, service, options));
    }
    drop(acceptor);
    if timeout(options.drain_timeout, draining.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are aborted");
    }
}

fn serve_connection<S, B>(
    draining: &GracefulShutdown,
    stream: TcpStream,
    place: Place,
    service: TrackedService<S>,
    options: ServerOptions,
) -> impl Future<Output = ()> + Send + use<S, B>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Small responses and events are sent at once.
    let _ = stream.set_nodelay(true);
    // A client that never reads its response does not keep its connection.
    let mut stream = TimeoutStream::new(TrackedStream::new(stream, place.activity()));
    stream.set_write_timeout(Some(options.write_timeout));
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.max_head_bytes)
        .max_headers(options.max_headers)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let served = draining.watch(served);
    async move {
        tokio::select! {
            // A request that has arrived is read before its connection is given up as idle.
            biased;
            // A client may disconnect at any time.
            _ = served => {}
            () = place.evicted() => {}
        }
    }
}
