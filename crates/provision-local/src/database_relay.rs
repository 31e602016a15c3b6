//! A clone's way to its database server: a socket of its own.
//!
//! A server counts connections that have not logged in for all users together, so that one clone could take them all. Each
//! clone therefore has a socket of its own, behind which only so many connections exist at once; others wait.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufReader, copy_buf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::blocking::run_blocking;
use crate::clone_paths::ClonePaths;
use crate::files::{create_dir, remove_all};
use crate::users::{Ids, chown};

/// The most connections of a clone: its PHP has eight workers, and the migrator uses several connections in each.
const MAX_CONNECTIONS: usize = 32;
/// The fewest: each of PHP's workers needs one.
const MIN_CONNECTIONS: usize = 8;
/// The part of this process' file descriptors that all relays use at most.
const DESCRIPTORS_PART: u64 = 4;
/// Bytes that are passed on at once.
const BUFFER: usize = 64 << 10;
/// How long to wait after a connection could not be accepted, for example because descriptors are missing.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long connecting to the server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections each of so many clones may have: every connection takes two descriptors of this process.
pub(crate) fn connections_per_clone(max_clones: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let all = usize::try_from(limit / DESCRIPTORS_PART / 2).unwrap_or(usize::MAX);
    (all / max_clones.max(1)).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

/// Passes a clone's connections on to its server. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct DatabaseRelay {
    _serving: AbortOnDropHandle<()>,
}

impl DatabaseRelay {
    /// Listens on the clone's socket. Its folder contains nothing else, and the clone cannot write in it.
    pub(crate) async fn start(
        paths: &ClonePaths,
        user: Option<Ids>,
        server: PathBuf,
        connections: usize,
    ) -> io::Result<Self> {
        let (folder, socket) = (paths.database(), paths.database_socket());
        let owner = user.map(Ids::readable_by_group);
        let listener = run_blocking(move || {
            create_dir(&folder, 0o750)?;
            chown(&folder, owner)?;
            remove_all(&socket)?;
            let listener = UnixListener::bind(&socket)?;
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o660))?;
            chown(&socket, owner)?;
            Ok(listener)
        });
        let serving = serve(listener.await?, server, Arc::new(Semaphore::new(connections)));
        Ok(Self { _serving: AbortOnDropHandle::new(tokio::spawn(serving)) })
    }
}

async fn serve(listener: UnixListener, server: PathBuf, places: Arc<Semaphore>) {
    let (server, mut connections) = (Arc::<Path>::from(server), JoinSet::new());
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    // Either side may close it at any time.
                    let _ = pass(client, &server).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a clone's connection to its database cannot be accepted");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Passes bytes in both directions until one side closes the connection.
async fn pass(client: UnixStream, server: &Path) -> io::Result<()> {
    let server = timeout(CONNECT_TIMEOUT, UnixStream::connect(server)).await??;
    let ((from_client, mut to_client), (from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let mut from_client = BufReader::with_capacity(BUFFER, from_client);
    let mut from_server = BufReader::with_capacity(BUFFER, from_server);
    tokio::select! {
        sent = copy_buf(&mut from_client, &mut to_server) => sent.map(drop),
        received = copy_buf(&mut from_server, &mut to_client) => {
            received?;
            to_client.shutdown().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Whether a server behind the relay greets this connection within the time.
    async fn is_greeted(stream: &mut UnixStream, limit: Duration) -> bool {
        let mut greeting = [0; 5];
        matches!(timeout(limit, stream.read_exact(&mut greeting)).await, Ok(Ok(_))) && &greeting == b"hello"
    }

    #[tokio::test]
    async fn more_connections_than_a_clone_may_have_wait_and_never_reach_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let (paths, server) =
            (ClonePaths::new(folder.path().join("clone"), "clone"), folder.path().join("server"));
        create_dir(&paths.folder, 0o700).unwrap();
        let listener = UnixListener::bind(&server).unwrap();
        let (accepted, accepts) = tokio::sync::watch::channel(0_usize);
        let server_task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"hello").await.unwrap();
                open.push(stream);
                accepted.send_replace(open.len());
            }
        }));
        let relay = DatabaseRelay::start(&paths, None, server, 3).await.unwrap();
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(UnixStream::connect(paths.database_socket()).await.unwrap());
        }
        for client in &mut clients[..3] {
            assert!(is_greeted(client, LIMIT).await);
        }
        // When one place becomes free, exactly one more gets it.
        let mut waiting = clients.split_off(3);
        drop(clients.pop());
        assert!(is_greeted(&mut waiting[0], LIMIT).await);
        assert_eq!(*accepts.borrow(), 4);
        drop(relay);
        let mut rest = [0; 1];
        let begun = Instant::now();
        assert_eq!(waiting[0].read(&mut rest).await.unwrap(), 0, "closed with the relay");
        assert!(begun.elapsed() < LIMIT);
        drop(server_task);
    }
}
