//! Serves the clone.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wpclone_beneath::Owner;
use wpclone_clone_proxy::fastcgi::PhpSocket;
use wpclone_clone_proxy::{Backend, BackendState, CloneDirectory, ClonePermits, NoBackend, ProxyOptions};
use wpclone_provision::clone_image::{PORT, READY_PATH, TREE};
use wpclone_provision::{Addresses, CloneName};

use crate::clone_address::CloneAddress;
use crate::php_fpm::{self, PhpFpm};

/// The document root: WordPress' folder is in it by the clone's name, as it is in the clone's address.
const WWW: &str = "/run/www";

/// Serves the clone until SIGTERM or SIGINT. It fails when php-fpm ends, so that the container is started again.
pub(crate) async fn serve(address: CloneAddress) -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let clone = Arc::new(SingleClone::new(address).context("the document root cannot be made")?);
    let listener = listen().await.with_context(|| format!("port {PORT} cannot be listened on"))?;
    let mut fpm = PhpFpm::start().await?;
    let shutdown = CancellationToken::new();
    // The router in front of it is one address, however many clients it has.
    let options = ProxyOptions { connections_per_peer: usize::MAX };
    let server = wpclone_clone_proxy::serve(listener, clone, options, shutdown.clone());
    tokio::pin!(server);
    tokio::select! {
        () = &mut server => bail!("the proxy ended"),
        ended = fpm.wait() => bail!("php-fpm ended: {}", ended?),
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    shutdown.cancel();
    server.await;
    fpm.stop().await;
    Ok(())
}

/// On all addresses, IPv6 included where there is any.
async fn listen() -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await,
    }
}

/// The directory that has this clone alone.
struct SingleClone {
    addresses: Addresses,
    clone: Backend,
}

impl SingleClone {
    fn new(address: CloneAddress) -> io::Result<Self> {
        let CloneAddress { url, name, addresses } = address;
        let link = Path::new(WWW).join(name.as_str());
        fs::create_dir_all(WWW)?;
        match symlink(TREE, link) {
            // The container was started again.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let socket = php_fpm::socket();
        let clone = Backend {
            routing: addresses.routing(),
            name,
            url,
            state: BackendState::Serving,
            www: PathBuf::from(WWW),
            tree: PathBuf::from(TREE),
            owner: Owner::Uid(socket.uid),
            socket,
            permits: ClonePermits::default(),
        };
        Ok(Self { addresses, clone })
    }
}

impl CloneDirectory for SingleClone {
    fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    fn backend(&self, name: &CloneName) -> Result<Backend, NoBackend> {
        if *name == self.clone.name { Ok(self.clone.clone()) } else { Err(NoBackend::Unknown) }
    }

    fn readiness(&self, path: &str) -> Option<&PhpSocket> {
        (path == READY_PATH).then_some(&self.clone.socket)
    }
}
