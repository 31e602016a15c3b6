//! Accepts connections within limits, serves them, and drains them at shutdown.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::Builder;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::connection_table::{Admission, ConnectionLimits, ConnectionTable, Place};
use crate::tracked::{TrackedService, TrackedStream};

/// The delay after a failed accept (no file descriptors, for example).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How often the log may say that connections are refused or wait.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// The response to a connection that is refused.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 45\r\nretry-after: 5\r\nconnection: close\r\n\r\nThis address has too many connections in use.";

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
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let draining = GracefulShutdown::new();
    let table = ConnectionTable::new(options.connections);
    let mut warnings = Warnings::default();
    let stop_accepting = async {
        shutdown.cancelled().await;
        sleep(options.unready_period).await;
    };
    tokio::pin!(stop_accepting);
    loop {
        let (stream, peer, place) = tokio::select! {
            next = next_connection(&listener, &table, &mut warnings) => next,
            () = &mut stop_accepting => break,
        };
        let service = TrackedService { inner: service(peer), activity: place.activity() };
        tokio::spawn(serve_connection(&draining, stream, place, service, options));
    }
    drop(listener);
    if timeout(options.drain_timeout, draining.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are aborted");
    }
}

/// Accepts a connection and waits for a place for it. Connections that are refused are closed.
async fn next_connection(
    listener: &TcpListener,
    table: &ConnectionTable,
    warnings: &mut Warnings,
) -> (TcpStream, SocketAddr, Place) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warnings.log(&format!("connections cannot be accepted: {error}"));
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        loop {
            let released = table.released();
            match table.admit(peer.ip()) {
                Admission::Admitted(place) => return (stream, peer, place),
                Admission::PeerLimit => {
                    let text = format!("connections of {} are refused: it has too many in use", peer.ip());
                    warnings.log(&text);
                    refuse(stream);
                    break;
                }
                Admission::Full => {
                    warnings.log("new connections wait: all are in use");
                    released.await;
                }
            }
        }
    }
}

/// Tells the client why, as far as that is possible without waiting.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        // The stream is non-blocking.
        let _ = stream.write(REFUSAL);
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
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
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
            // A client may disconnect at any time.
            _ = served => {}
            () = place.evicted() => {}
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
    fn the_refusal_has_the_length_that_it_declares() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
