//! Accepts connections, within limits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::directory::CloneDirectory;
use crate::router;

/// How many connections are open at most; the next ones wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// How long the head of a request may take to arrive; also how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of a request's head, and the most headers in it.
const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// How long a client may read nothing of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long open requests may take to end at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The wait after an accept that failed (no file descriptors, for example).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves clones until `shutdown`, then waits a few seconds for open requests.
pub async fn serve(listener: TcpListener, clones: Arc<dyn CloneDirectory>, shutdown: CancellationToken) {
    let open = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The permit first: a connection that waits for one is not accepted yet.
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let served = connection(&open, stream, peer, Arc::clone(&clones));
                tokio::spawn(async move {
                    let _permit = permit;
                    served.await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, open.shutdown()).await.is_err() {
        tracing::debug!("open requests to clones did not end in time and are aborted");
    }
}

fn connection(
    open: &GracefulShutdown,
    stream: TcpStream,
    peer: SocketAddr,
    clones: Arc<dyn CloneDirectory>,
) -> impl Future<Output = ()> + use<> {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = service_fn(move |request| {
        let clones = Arc::clone(&clones);
        async move { Ok::<_, Infallible>(router::handle(clones.as_ref(), request, peer).await) }
    });
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let served = open.watch(served);
    async move {
        // A client may disconnect at any time.
        let _: Result<(), _> = served.await;
    }
}
