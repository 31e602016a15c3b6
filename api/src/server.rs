//! The HTTP server: a bounded number of connections, timeouts, and graceful shutdown.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Bounds of the connection limit. Further connections wait to be accepted.
const MIN_CONNECTIONS: u64 = 64;
const MAX_CONNECTIONS: u64 = 2048;
/// File descriptors reserved for everything but connections.
const RESERVED_FILES: u64 = 256;
/// The timeout for receiving a request's head, also on an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes, and the most headers in it.
const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// How long new connections are still accepted during shutdown, so that a load balancer sees the failed readiness first.
const UNREADY_PERIOD: Duration = Duration::from_millis(500);
/// The timeout for open requests after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay after a failed accept (no file descriptors, for example).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is cancelled, then drains. A connection whose client reads nothing for `write_timeout` is
/// closed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    write_timeout: Duration,
    shutdown: CancellationToken,
) {
    let connections = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(max_connections(getrlimit(Resource::Nofile).current)));
    let stop_accepting = async {
        shutdown.cancelled().await;
        sleep(UNREADY_PERIOD).await;
    };
    tokio::pin!(stop_accepting);
    let mut failing = false;
    loop {
        // The permit first: a connection that waits for one has not been accepted yet.
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop_accepting => break,
        };
        match accepted {
            Ok((stream, _)) => {
                failing = false;
                let served = serve_connection(&connections, stream, write_timeout, router.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    served.await;
                });
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "connections cannot be accepted; retrying");
                }
                failing = true;
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are aborted");
    }
}

/// The connection limit for so many file descriptors; `None`: no limit of them.
fn max_connections(files: Option<u64>) -> usize {
    let connections = files.map_or(MAX_CONNECTIONS, |n| n.saturating_sub(RESERVED_FILES));
    usize::try_from(connections.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)).unwrap_or(usize::MAX)
}

fn serve_connection(
    connections: &GracefulShutdown,
    stream: TcpStream,
    write_timeout: Duration,
    router: Router,
) -> impl Future<Output = ()> + use<> {
    // Small responses and events are sent at once.
    let _ = stream.set_nodelay(true);
    // A client that never reads its response does not keep its connection.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write_timeout));
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let served = connections.watch(served);
    async move {
        // A client may disconnect at any time.
        let _: Result<(), _> = served.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_descriptors_are_reserved_for_other_uses() {
        for (files, connections) in
            [(Some(1024), 768), (Some(100), 64), (Some(1 << 20), 2048), (Some(0), 64), (None, 2048)]
        {
            assert_eq!(max_connections(files), connections, "{files:?}");
        }
    }
}
