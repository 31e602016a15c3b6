//! Where the proxy learns of clones.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use url::Url;
use wpclone_beneath::Owner;
use wpclone_provision::{Addresses, CloneName, Routing};

use crate::fastcgi::PhpSocket;

/// The clones that the proxy routes to.
pub trait CloneDirectory: Send + Sync {
    /// The addresses of clones.
    fn addresses(&self) -> &Addresses;

    /// The clone of this name.
    ///
    /// # Errors
    /// There is none.
    fn backend(&self, name: &CloneName) -> Result<Backend, NoBackend>;
}

/// A clone as the proxy sees it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The clone's name.
    pub name: CloneName,
    /// Its canonical address.
    pub url: Url,
    /// The form of address that is canonical.
    pub routing: Routing,
    /// Whether it takes requests.
    pub state: BackendState,
    /// The folder that holds the WordPress folder; it is named like the clone.
    pub www: PathBuf,
    /// WordPress itself.
    pub tree: PathBuf,
    /// The socket of its php-fpm.
    pub socket: PhpSocket,
    /// The only system user whose files are served.
    pub owner: Owner,
    /// A permit for each request that PHP may handle or have waiting.
    pub requests: Arc<Semaphore>,
    /// A permit for each request whose file is being looked for.
    pub lookups: Arc<Semaphore>,
    /// A permit for each body that is being received and is not small.
    pub uploads: Arc<Semaphore>,
}

/// Whether a clone takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    /// It does.
    Serving,
    /// Its programs are being started.
    Starting,
    /// It was stopped because of what it takes of the disk, or of its database server.
    Stopped,
    /// It is being deleted.
    Deleting,
}

/// Why there is no such clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBackend {
    /// It was deleted within the last day.
    Gone,
    /// It is kept, but cannot be read at the moment.
    Unreadable,
    /// No clone has this name.
    Unknown,
}
