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

    /// The php-fpm of which this path tells whether it runs. The path is answered under every host; no clone has it.
    fn readiness(&self, path: &str) -> Option<&PhpSocket> {
        let _ = path;
        None
    }
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
    /// What it may do at once.
    pub permits: ClonePermits,
}

/// How many requests of a clone may be in PHP or wait for it.
const MAX_REQUESTS: usize = 48;
/// How many of a clone's files may be looked for at once.
const MAX_LOOKUPS: usize = 4;
/// How many bodies of a clone's requests, of those that are not small, may be received at once.
const MAX_UPLOADS: usize = 32;

/// The permits of one clone.
#[derive(Debug, Clone)]
pub struct ClonePermits {
    /// One for each request that PHP may handle or have waiting.
    pub(crate) requests: Arc<Semaphore>,
    /// One for each request whose file is being looked for.
    pub(crate) lookups: Arc<Semaphore>,
    /// One for each body that is being received and is not small.
    pub(crate) uploads: Arc<Semaphore>,
}

impl Default for ClonePermits {
    fn default() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
        }
    }
}

/// Whether a clone takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    /// It does.
    Serving,
    /// Its programs are being started.
    Starting,
    /// It was stopped because of what it takes: of the disk, of its database server, or of locks of files.
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
