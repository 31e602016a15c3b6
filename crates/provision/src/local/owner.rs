//! The process that owns the state folder.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::dirs::{Dirs, Permit, Seat, make_dir, remove_dir};
use super::launch::{Launcher, can_unshare};
use super::mariadb::{MariaDb, Servers, Sql};
use super::programs::Programs;
use super::record::{self, Record};
use super::template::{self, Ground, Template, Workshop};
use super::users::{USERS, Users};
use super::{Entry, LocalOptions, blocking, lock};
use crate::{Addresses, CloneName, Isolation, Phase, ProvisionError, harness};

/// How long the programs of an owner that died may take to be gone. Their guards promise ten seconds.
const OTHERS_LIMIT: Duration = Duration::from_secs(20);
/// A file that keeps a folder.
const KEEP: &str = "keep";
/// The name of the server that clones share.
const SHARED: &str = "shared";
/// How long the proxy's port may be taken by an owner that ends.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);

/// All that is needed, before anything runs.
pub(crate) struct Prepared {
    options: LocalOptions,
    dirs: Dirs,
    users: Users,
    programs: Programs,
    held: Arc<Permit>,
}

/// The owner of the state folder.
pub(crate) struct Owner {
    pub(crate) options: LocalOptions,
    pub(crate) dirs: Dirs,
    pub(crate) users: Users,
    pub(crate) programs: Programs,
    pub(crate) launcher: Launcher,
    pub(crate) servers: Servers,
    clones: Mutex<BTreeMap<CloneName, Arc<Entry>>>,
    sql: Mutex<Sql>,
    pub(super) shared: tokio::sync::Mutex<Option<MariaDb>>,
    pub(super) template: Mutex<Result<Template, String>>,
    pub(super) held: Arc<Permit>,
}

impl Prepared {
    /// Looks whether everything is there and takes the lock; `None` when another process has it.
    pub(crate) fn take(options: &LocalOptions) -> Result<Option<Self>, String> {
        let (users, programs) = (Users::find()?, Programs::find()?);
        let dirs = Dirs::open(&options.state_dir, users.mysql().is_some())?;
        let held = dirs.lock().map_err(|e| format!("the state folder cannot be locked: {e}"))?;
        Ok(held.map(|held| Self { options: options.clone(), dirs, users, programs, held: Arc::new(held) }))
    }

    /// Waits until nothing of the owner before is left, and starts the database server.
    pub(crate) async fn start(self) -> io::Result<Owner> {
        let Self { options, dirs, users, programs, held } = self;
        let folders = dirs.clone();
        blocking(move || {
            for folder in [folders.clones(), folders.mariadb(), folders.template()] {
                make_dir(&folder, 0o711)?;
            }
            make_dir(&folders.gone(), 0o700)?;
            // Other users' programs have to pass it. A guard removes an empty one, so it is never empty.
            make_dir(&folders.run(), 0o711)?;
            std::fs::write(folders.run().join(KEEP), "")?;
            harness::write(&folders.harness())
        })
        .await?;
        others_gone(dirs.run()).await?;
        let left = dirs.seat(Seat::TEMPLATE).folder;
        blocking(move || remove_dir(&left)).await?;
        let unshare = match programs.unshare.clone() {
            Some(unshare) if can_unshare(&unshare, users.of_slot(0)).await => Some(unshare),
            _ => {
                tracing::warn!(
                    "clones cannot have a network of their own: only their must-use plugin keeps them in"
                );
                None
            }
        };
        if users.mysql().is_none() {
            tracing::warn!("not root: all clones run as this user, with open_basedir");
        }
        let launcher = Launcher { guard: options.guard.clone(), run: dirs.run(), unshare };
        let servers = Servers {
            dirs: dirs.clone(),
            programs: programs.clone(),
            launcher: launcher.clone(),
            user: users.mysql(),
            held: Arc::clone(&held),
        };
        let ground = Ground { dirs: &dirs, user: users.of_slot(0), held: &held };
        let first = std::fs::read_dir(dirs.clones())?.next().is_none();
        let plant = async {
            // Both take a while, and neither needs the other. Clones that there are come before: they are down. What is
            // not planted now is when WordPress is prepared.
            if first {
                let _ = template::plant(&options.wordpress_dir, &ground).await;
            }
        };
        let (shared, ()) = tokio::join!(servers.start(SHARED), plant);
        let shared = shared?;
        let sql = shared.handle();
        let clones = found(&dirs, &sql).await?;
        Ok(Owner {
            options,
            dirs,
            users,
            programs,
            launcher,
            servers,
            clones: Mutex::new(clones),
            sql: Mutex::new(sql),
            shared: tokio::sync::Mutex::new(Some(shared)),
            template: Mutex::new(Err("the WordPress to start from is being prepared".into())),
            held,
        })
    }
}

/// Waits until the guards of a dead owner are gone, and clears after those that were killed.
async fn others_gone(run: PathBuf) -> io::Result<()> {
    let end = Instant::now() + OTHERS_LIMIT;
    loop {
        let folders = run.clone();
        blocking(move || wpclone_guard::sweep(&folders)).await?;
        if std::fs::read_dir(&run)?.flatten().all(|entry| entry.file_name() == KEEP) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "programs of the owner before do not end"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The clones that are in the state folder; what is no whole clone is removed.
async fn found(dirs: &Dirs, sql: &Sql) -> io::Result<BTreeMap<CloneName, Arc<Entry>>> {
    let mut clones = BTreeMap::new();
    for (name, record) in record::all(dirs)? {
        if let Some(record) = record {
            clones.insert(name, Arc::new(Entry::new(dirs, record)));
        } else {
            tracing::info!(clone = %name, "removing what is left of a clone that was half made");
            let folder = Seat::of(dirs, &name).folder;
            blocking(move || remove_dir(&folder)).await?;
        }
    }
    let kept = |name: &str| name.parse().is_ok_and(|name: CloneName| clones.contains_key(&name));
    for schema in sql.schemas().await?.iter().filter(|schema| !kept(schema)) {
        sql.drop(schema).await?;
    }
    for entry in std::fs::read_dir(dirs.mariadb())?.flatten() {
        let file = entry.file_name();
        if file.to_str().is_some_and(|name| name.parse::<CloneName>().is_ok() && !kept(name)) {
            remove_dir(&entry.path())?;
        }
    }
    Ok(clones)
}

impl Owner {
    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.options.addresses
    }

    /// The proxy's listener. An owner that has just ended may still close its connections.
    pub(crate) async fn listen(&self) -> io::Result<TcpListener> {
        let end = Instant::now() + LISTEN_LIMIT;
        loop {
            match TcpListener::bind(self.addresses().listen()).await {
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                    sleep(Duration::from_millis(100)).await;
                }
                bound => return bound,
            }
        }
    }

    /// A clone.
    pub(crate) fn entry(&self, name: &CloneName) -> Option<Arc<Entry>> {
        lock(&self.clones).get(name).cloned()
    }

    /// A clone, or why there is none.
    pub(crate) fn wanted(&self, name: &CloneName) -> Result<Arc<Entry>, ProvisionError> {
        match self.entry(name) {
            Some(entry) => Ok(entry),
            None if record::is_gone(&self.dirs, name, self.now()) => Err(ProvisionError::Gone(name.clone())),
            None => Err(ProvisionError::NotFound(name.clone())),
        }
    }

    /// All clones, oldest first.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        lock(&self.clones).values().cloned().collect()
    }

    /// The clone of this name, or a place for it: `make` is given a user that no other clone has.
    pub(crate) fn entry_or(
        &self,
        name: &CloneName,
        make: impl FnOnce(u32) -> Record,
    ) -> Result<Arc<Entry>, ProvisionError> {
        let mut clones = lock(&self.clones);
        if let Some(entry) = clones.get(name) {
            return Ok(Arc::clone(entry));
        }
        if clones.len() >= self.options.max_clones {
            return Err(ProvisionError::Full(self.options.max_clones));
        }
        let taken: Vec<u32> = clones.values().map(|entry| entry.slot()).collect();
        // The first is the template's.
        let slot = (1..USERS).find(|slot| !taken.contains(slot));
        let slot = slot.ok_or(ProvisionError::Full(self.options.max_clones))?;
        let entry = Arc::new(Entry::new(&self.dirs, make(slot)));
        clones.insert(name.clone(), Arc::clone(&entry));
        Ok(entry)
    }

    /// Forgets a clone.
    pub(crate) fn forget(&self, name: &CloneName) {
        lock(&self.clones).remove(name);
    }

    /// The administrator of the server that clones share.
    pub(crate) fn sql(&self) -> Sql {
        lock(&self.sql).clone()
    }

    /// Starts the shared server again if it has died; says whether it had.
    pub(super) async fn keep_server(&self) -> io::Result<bool> {
        let mut shared = self.shared.lock().await;
        if shared.as_mut().is_some_and(MariaDb::runs) {
            return Ok(false);
        }
        tracing::warn!("the database server has died; starting it again");
        if let Some(dead) = shared.take() {
            dead.stop().await;
        }
        let server = self.servers.start(SHARED).await?;
        *lock(&self.sql) = server.handle();
        *shared = Some(server);
        Ok(true)
    }

    /// Prepares the WordPress that clones start from, or says why there is none.
    pub(super) async fn prepare(&self) {
        let wordpress = &self.options.wordpress_dir;
        let with = Workshop {
            ground: Ground { dirs: &self.dirs, user: self.users.of_slot(0), held: &self.held },
            programs: &self.programs,
            launcher: &self.launcher,
            sql: self.sql(),
        };
        let made = Template::get(wordpress, &with).await;
        *lock(&self.template) = made
            .map_err(|error| format!("the WordPress in {} cannot be prepared: {error}", wordpress.display()));
    }

    /// The server that a clone's schema is in.
    pub(super) fn database(&self, isolation: Isolation, own: Option<&MariaDb>) -> Option<Sql> {
        match isolation {
            Isolation::Shared => Some(self.sql()),
            Isolation::Dedicated => own.map(MariaDb::handle),
        }
    }

    /// Ends all programs.
    pub(crate) async fn stop(&self) {
        let stops = self.entries().into_iter().map(|entry| async move {
            entry.set_up(false);
            let mut programs = entry.programs.lock().await;
            if let Some(fpm) = programs.fpm.take() {
                fpm.stop().await;
            }
            if let Some(server) = programs.server.take() {
                server.stop().await;
            }
        });
        futures_util::future::join_all(stops).await;
        if let Some(server) = self.shared.lock().await.take() {
            server.stop().await;
        }
    }

    /// Whether a clone is whole: it may run.
    pub(super) fn may_run(entry: &Entry) -> bool {
        matches!(entry.phase(), Phase::Ready | Phase::Published)
    }
}
