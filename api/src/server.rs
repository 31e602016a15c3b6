//! Connections: accepting them within bounds, and letting them end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// How many connections are open at most; the next ones wait to be accepted.
const MAX_CONNECTIONS: usize = 2048;
/// How long the head of a request may take to arrive, an idle connection's next one included.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long an answer may wait for its reader.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// The most bytes of a request's head, and the most headers in it.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// How long new connections are still accepted while readiness says no, so that a balancer can turn away first.
const TURN_AWAY: Duration = Duration::from_millis(500);
/// How long open requests then have to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait after an accept that failed (no file descriptors, for example).
const AFTER_FAULT: Duration = Duration::from_millis(100);

/// Serves until the token is cancelled, then drains.
pub async fn serve(listener: TcpListener, router: Router, ending: CancellationToken) {
    let open = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let last_call = async {
        ending.cancelled().await;
        sleep(TURN_AWAY).await;
    };
    tokio::pin!(last_call);
    loop {
        // The place first: who waits for one has not been accepted yet.
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut last_call => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let served = connection(&open, stream, router.clone());
                tokio::spawn(async move {
                    let _place = place;
                    served.await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(AFTER_FAULT).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN, open.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
}

fn connection(
    open: &GracefulShutdown,
    stream: TcpStream,
    router: Router,
) -> impl Future<Output = ()> + use<> {
    // Small answers and events go out at once.
    let _ = stream.set_nodelay(true);
    // Who asks and does not read the answer holds no place for ever.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let served = open.watch(served);
    async move {
        // A client that goes away in the middle is no news.
        let _: Result<(), _> = served.await;
    }
}
