//! Connections: accepting them within bounds, and letting them end.

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

/// How many connections are open at least and at most; the next ones wait to be accepted.
const CONNECTIONS: (u64, u64) = (64, 2048);
/// How many file descriptors are left to everything else.
const OTHER_FILES: u64 = 256;
/// How long the head of a request may take to arrive, an idle connection's next one included.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The most bytes of a request's head, and the most headers in it.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// How long new connections are still accepted while readiness says no, so that a balancer can turn away first.
const TURN_AWAY: Duration = Duration::from_millis(500);
/// How long open requests then have to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait after an accept that failed (no file descriptors, for example).
const AFTER_FAULT: Duration = Duration::from_millis(100);

/// Serves until `ending` is cancelled, then drains. A connection that takes nothing of what is written to it for
/// `stalled` is closed.
pub async fn serve(listener: TcpListener, router: Router, stalled: Duration, ending: CancellationToken) {
    let open = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(places(getrlimit(Resource::Nofile).current)));
    let last_call = async {
        ending.cancelled().await;
        sleep(TURN_AWAY).await;
    };
    tokio::pin!(last_call);
    let mut failing = false;
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
                failing = false;
                let served = connection(&open, stream, stalled, router.clone());
                tokio::spawn(async move {
                    let _place = place;
                    served.await;
                });
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "connections cannot be accepted; trying on");
                }
                failing = true;
                sleep(AFTER_FAULT).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN, open.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
}

/// How many connections so many file descriptors allow; `None`: no limit.
fn places(files: Option<u64>) -> usize {
    let places = files.map_or(CONNECTIONS.1, |n| n.saturating_sub(OTHER_FILES));
    usize::try_from(places.clamp(CONNECTIONS.0, CONNECTIONS.1)).unwrap_or(usize::MAX)
}

fn connection(
    open: &GracefulShutdown,
    stream: TcpStream,
    stalled: Duration,
    router: Router,
) -> impl Future<Output = ()> + use<> {
    // Small answers and events go out at once.
    let _ = stream.set_nodelay(true);
    // Who asks and does not read the answer holds no place for ever.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stalled));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_file_descriptors_to_others() {
        for (files, connections) in
            [(Some(1024), 768), (Some(100), 64), (Some(1 << 20), 2048), (Some(0), 64), (None, 2048)]
        {
            assert_eq!(places(files), connections, "{files:?}");
        }
    }
}
