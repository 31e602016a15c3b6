//! Clones as processes of this machine.

mod ask;
mod config;
pub(crate) mod dirs;
mod entry;
mod launch;
mod make;
mod mariadb;
mod owner;
mod pack;
mod php;
mod programs;
mod record;
mod template;
mod tree;
mod unmake;
mod upkeep;
mod users;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{Addresses, Clock, Health, ProvisionError};

pub(crate) use config::MOST_UPLOAD;
pub(crate) use entry::Entry;
pub(crate) use owner::Owner;

/// How often a state folder that another process holds is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often what was missing is looked for again.
const RETRY_EVERY: Duration = Duration::from_secs(15);

/// How local clones are made.
#[derive(Clone)]
pub struct LocalOptions {
    /// Where everything lies that outlives the process. One process at a time owns it.
    pub state_dir: PathBuf,
    /// A pristine WordPress that clones start from.
    pub wordpress_dir: PathBuf,
    /// The addresses that clones have, and where the proxy listens.
    pub addresses: Addresses,
    /// How many clones there may be.
    pub max_clones: usize,
    /// The program that guards ours: it calls `wpclone_guard::run_if_guard` first of all. `/proc/self/exe` where this
    /// program does.
    pub guard: PathBuf,
    /// What time it is.
    pub clock: Clock,
}

/// Clones as processes of this machine. It works while [`Local::run`] does.
pub struct Local {
    options: LocalOptions,
    health: watch::Sender<Health>,
    owner: Mutex<Option<Arc<Owner>>>,
}

impl Local {
    /// A provisioner that does not work yet.
    #[must_use]
    pub fn new(options: LocalOptions) -> Arc<Self> {
        Arc::new(Self { options, health: watch::Sender::new(Health::Starting), owner: Mutex::default() })
    }

    /// Owns the state folder, as soon as nobody else does, and serves clones until `ending`; then ends all programs.
    /// What is missing is looked for again now and then.
    pub async fn run(&self, ending: CancellationToken) {
        while !ending.is_cancelled() {
            let wait = match self.own(&ending).await {
                Ok(true) => return,
                Ok(false) => {
                    self.tell(Health::Waiting);
                    LOOK_EVERY
                }
                Err(why) => {
                    self.tell(Health::Unavailable(why));
                    RETRY_EVERY
                }
            };
            tokio::select! { () = ending.cancelled() => {} () = sleep(wait) => {} }
        }
    }

    /// Works as the owner until `ending`; `false` when another process is it.
    async fn own(&self, ending: &CancellationToken) -> Result<bool, String> {
        let Some(prepared) = owner::Prepared::take(&self.options)? else { return Ok(false) };
        self.tell(Health::Starting);
        let owner = Arc::new(prepared.start().await.map_err(|e| format!("it cannot be started: {e}"))?);
        let listener = match owner.listen().await {
            Ok(listener) => listener,
            Err(error) => {
                owner.stop().await;
                return Err(format!(
                    "the proxy cannot listen on {}: {error}",
                    self.options.addresses.listen()
                ));
            }
        };
        let serving = CancellationToken::new();
        let proxy = tokio::spawn(crate::proxy::serve(listener, Arc::clone(&owner), serving.clone()));
        *lock(&self.owner) = Some(Arc::clone(&owner));
        tokio::select! {
            () = ending.cancelled() => {}
            () = owner.upkeep(|health| self.tell(health)) => {}
        }
        *lock(&self.owner) = None;
        self.tell(Health::Starting);
        serving.cancel();
        owner.stop().await;
        let _ = proxy.await;
        Ok(true)
    }

    fn tell(&self, health: Health) {
        if *self.health.borrow() != health {
            match &health {
                Health::Ready => tracing::info!(
                    clones = %self.options.addresses, state = %self.options.state_dir.display(), "clones can be made"
                ),
                Health::Unavailable(why) => tracing::warn!(why, "clones cannot be made"),
                Health::Waiting => {
                    tracing::info!("another process has the clones' state; waiting for it to end")
                }
                Health::Starting => {}
            }
            self.health.send_replace(health);
        }
    }

    fn owner(&self) -> Result<Arc<Owner>, ProvisionError> {
        let owner = lock(&self.owner).clone();
        owner.ok_or_else(|| ProvisionError::Unavailable(why(&self.health.borrow())))
    }
}

fn why(health: &Health) -> String {
    match health {
        Health::Ready | Health::Starting => "the provisioner is starting".into(),
        Health::Waiting => "another process has the clones' state".into(),
        Health::Unavailable(why) => why.clone(),
    }
}

/// Runs what blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The lock, also after a holder panicked: what our mutexes hold is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
