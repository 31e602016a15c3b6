//! The limits of the API's HTTP server.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wpclone_http_server::{ConnectionLimits, MAX_LAG, ServerOptions, connections_within_open_files};

/// The most connections.
const MAX_CONNECTIONS: u64 = 2048;
/// File descriptors reserved for everything but connections.
const RESERVED_FILES: u64 = 256;
/// The timeout for receiving a request's head, also on an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes, and the most headers in it.
const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// How long new connections are still accepted during shutdown, so that a load balancer sees the failed readiness first.
const UNREADY_PERIOD: Duration = Duration::from_millis(500);
/// The timeout for open requests after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until `shutdown` is cancelled, then drains. A connection whose client reads nothing for `write_timeout` is
/// closed. One address may have `connections_per_peer`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    write_timeout: Duration,
    connections_per_peer: usize,
    shutdown: CancellationToken,
) {
    let total = connections_within_open_files(RESERVED_FILES, 1, MAX_CONNECTIONS);
    let options = ServerOptions {
        connections: ConnectionLimits {
            total,
            reserved_for_local: 0,
            per_peer: connections_per_peer.min(total),
            max_lag: MAX_LAG,
        },
        head_timeout: HEAD_TIMEOUT,
        write_timeout,
        max_head_bytes: MAX_HEAD_BYTES,
        max_headers: MAX_HEADERS,
        unready_period: UNREADY_PERIOD,
        drain_timeout: DRAIN_TIMEOUT,
    };
    let service = |_: SocketAddr| TowerToHyperService::new(router.clone());
    wpclone_http_server::serve(listener, service, options, shutdown).await;
}
