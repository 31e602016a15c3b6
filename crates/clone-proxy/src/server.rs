//! The HTTP server in front of clones.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wpclone_http_server::{
    ConnectionLimits, MAX_LAG, RequestBody, ServerOptions, connections_within_open_files,
};

use crate::cluster::ClusterClones;
use crate::directory::CloneDirectory;
use crate::router::{self, SharedLimits};

/// The most connections.
const MAX_CONNECTIONS: u64 = 1024;
/// The part of them, a quarter, that is kept for programs of this machine: workers that fill a clone or look at it.
const LOCAL_PART: usize = 4;
/// Open files of a connection: its own, and the one to PHP or the file that is sent.
const FILES_PER_CONNECTION: u64 = 2;
/// Open files that are reserved for the rest of the worker: its steps, their browsers and databases.
const RESERVED_FILES: u64 = 512;
/// How long the head of a request may take to arrive; also how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a request's head, and the most headers in it. Most of it is for cookies: scripts of all clones that
/// share a host or a domain set some that each clone gets.
const MAX_HEAD_BYTES: usize = 128 << 10;
const MAX_HEADERS: usize = 100;
/// How long a client may read nothing of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long open requests may take to end at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What an operator sets of the proxy.
#[derive(Debug, Clone, Copy)]
pub struct ProxyOptions {
    /// How many connections one address may have.
    pub connections_per_peer: usize,
}

/// Serves clones until `shutdown`, then waits a few seconds for open requests.
pub async fn serve(
    listener: TcpListener,
    clones: Arc<dyn CloneDirectory>,
    options: ProxyOptions,
    shutdown: CancellationToken,
) {
    let limits = Arc::new(SharedLimits::default());
    let service = |peer: SocketAddr| {
        let (clones, limits) = (Arc::clone(&clones), Arc::clone(&limits));
        service_fn(move |request: Request<RequestBody>| {
            let (clones, limits) = (Arc::clone(&clones), Arc::clone(&limits));
            async move { Ok::<_, Infallible>(router::handle(clones.as_ref(), &limits, request, peer).await) }
        })
    };
    let total = most_connections();
    let options = server_options(options, total, total / LOCAL_PART);
    wpclone_http_server::serve(listener, service, options, shutdown).await;
}

/// Leads requests to the clones of a cluster until `shutdown`, then waits a few seconds for open requests.
pub async fn serve_cluster(
    listener: TcpListener,
    clones: Arc<ClusterClones>,
    options: ProxyOptions,
    shutdown: CancellationToken,
) {
    let service = |_: SocketAddr| {
        let clones = Arc::clone(&clones);
        service_fn(move |request: Request<RequestBody>| {
            let clones = Arc::clone(&clones);
            async move { Ok::<_, Infallible>(clones.handle(request).await) }
        })
    };
    // Nobody of its own machine uses it.
    wpclone_http_server::serve(listener, service, server_options(options, most_connections(), 0), shutdown)
        .await;
}

fn most_connections() -> usize {
    connections_within_open_files(RESERVED_FILES, FILES_PER_CONNECTION, MAX_CONNECTIONS)
}

fn server_options(options: ProxyOptions, total: usize, reserved_for_local: usize) -> ServerOptions {
    ServerOptions {
        connections: ConnectionLimits {
            total,
            reserved_for_local,
            per_peer: options.connections_per_peer.min(total),
            max_lag: MAX_LAG,
        },
        head_timeout: HEAD_TIMEOUT,
        write_timeout: WRITE_TIMEOUT,
        max_head_bytes: MAX_HEAD_BYTES,
        max_headers: MAX_HEADERS,
        unready_period: Duration::ZERO,
        drain_timeout: DRAIN_TIMEOUT,
    }
}
