//! Connections, within bounds.

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

use crate::local::Owner;

/// How many connections are open at most; the next ones wait to be accepted.
const CONNECTIONS: usize = 1024;
/// How long the head of a request may take to arrive, an idle connection's next one included.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// The most bytes of a request's head, and the most headers in it.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// How long somebody may take nothing of an answer, or send nothing of a body.
const STALLED: Duration = Duration::from_secs(120);
/// How long open requests have to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait after an accept that failed (no file descriptors, for example).
const AFTER_FAULT: Duration = Duration::from_millis(100);

/// Serves until `ending`, then lets open requests end for a while.
pub(crate) async fn serve(listener: TcpListener, owner: Arc<Owner>, ending: CancellationToken) {
    let open = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The place first: who waits for one has not been accepted yet.
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = ending.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let served = connection(&open, stream, peer, Arc::clone(&owner));
                tokio::spawn(async move {
                    let _place = place;
                    served.await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection cannot be accepted");
                sleep(AFTER_FAULT).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN, open.shutdown()).await.is_err() {
        tracing::debug!("some requests to clones did not end in time and are cut off");
    }
}

fn connection(
    open: &GracefulShutdown,
    stream: TcpStream,
    peer: SocketAddr,
    owner: Arc<Owner>,
) -> impl Future<Output = ()> + use<> {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let service = service_fn(move |request| {
        let owner = Arc::clone(&owner);
        async move { Ok::<_, Infallible>(super::answer(owner, request, peer).await) }
    });
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let served = open.watch(served);
    async move {
        // A client that goes away in the middle is no news.
        let _: Result<(), _> = served.await;
    }
}
