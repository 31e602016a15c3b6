//! The process that has the lock of the state folder: its parts, from start to end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use wpclone_provision::{Access, CloneName, ProvisionError};

use crate::binaries::Binaries;
use crate::blocking::run_blocking;
use crate::cgroup::{COMMON_PREFIX, Cgroups};
use crate::clone_runtime;
use crate::clone_setup::CloneSetup;
use crate::create::Creator;
use crate::database_offenders::{self, OffenderReceiver};
use crate::database_relay::connections_per_clone;
use crate::database_server::DatabaseServers;
use crate::destroy::Destroyer;
use crate::error::task_failed;
use crate::files::{create_dir, remove_all};
use crate::host::Host;
use crate::launcher::Launcher;
use crate::local_clone::LocalClone;
use crate::local_clones::LocalClones;
use crate::match_source::SourceMatcher;
use crate::options::LocalOptions;
use crate::recovery::Recovery;
use crate::sandbox::Sandbox;
use crate::shared_database::SharedDatabase;
use crate::slots::SlotAllocator;
use crate::state_dir::{StateDir, StateLock};
use crate::template_store::TemplateStore;
use crate::tombstones::Tombstones;
use crate::users::Users;

/// How long the programs of the previous process may take to end. Their supervisors end them within ten seconds.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(20);
/// Why no clones can be created on a machine without sandboxes.
const NO_SANDBOX: &str = "this machine allows no sandbox for clones, and without one the PHP of a cloned site can attack it \
     (install bubblewrap 0.8 or newer and allow user namespaces)";
/// A file that keeps a folder from being removed as empty.
const KEEP: &str = "keep";
/// How long the proxy's port may still be in use by a process that ends.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The locked state folder with everything that an engine is started from.
pub(crate) struct LockedHost {
    options: LocalOptions,
    state_dir: StateDir,
    users: Users,
    binaries: Binaries,
    lock: Arc<StateLock>,
}

/// The owner of the state folder and its parts.
pub(crate) struct LocalEngine {
    pub(crate) host: Arc<Host>,
    pub(crate) clones: Arc<LocalClones>,
    pub(crate) shared: Arc<SharedDatabase>,
    pub(crate) templates: Arc<TemplateStore>,
    pub(crate) setup: Arc<CloneSetup>,
    pub(crate) creator: Arc<Creator>,
    pub(crate) matcher: Arc<SourceMatcher>,
    pub(crate) destroyer: Arc<Destroyer>,
    pub(crate) recovery: Arc<Recovery>,
    /// Clones that are to be stopped for what they do to their database server.
    pub(crate) offenders: tokio::sync::Mutex<OffenderReceiver>,
}

impl LockedHost {
    /// Checks that everything is there and takes the lock; `None` when another process has it.
    pub(crate) fn lock(options: &LocalOptions) -> Result<Option<Self>, String> {
        let (users, binaries) = (Users::find()?, Binaries::find()?);
        let state_dir = StateDir::open(&options.state_dir, users.are_separate())?;
        let options = options.clone();
        let lock = state_dir.lock()?;
        Ok(lock.map(|lock| Self { options, state_dir, users, binaries, lock: Arc::new(lock) }))
    }

    /// Waits until the previous process' programs are gone, starts the database server, and finds the clones.
    pub(crate) async fn start(self) -> io::Result<LocalEngine> {
        let Self { options, state_dir, users, binaries, lock } = self;
        create_folders(&state_dir).await?;
        wait_until_predecessor_is_gone(state_dir.run()).await?;
        let staging = state_dir.template_paths().folder;
        run_blocking(move || remove_all(&staging)).await?;
        let launcher = launcher(&options, &state_dir, &binaries, users).await?;
        let (sender, offenders) = database_offenders::channel();
        let servers = DatabaseServers {
            state_dir: state_dir.clone(),
            binaries: binaries.clone(),
            launcher: launcher.clone(),
            users,
            lock: Arc::clone(&lock),
            connections_per_clone: connections_per_clone(options.max_clones),
            max_clones: options.max_clones,
            limits: options.database,
            disk_reserve: options.disk.reserve_bytes,
            offenders: sender,
        };
        let (addresses, clock, disk) = (options.addresses.clone(), options.clock.clone(), options.disk);
        let host = Arc::new(Host { state_dir, lock, users, binaries, launcher, addresses, disk, clock });
        let templates = Arc::new(TemplateStore::new(Arc::clone(&host), options.wordpress_dir.clone()));
        let folder = host.state_dir.clones();
        let no_clones = run_blocking(move || Ok(std::fs::read_dir(folder)?.next().is_none())).await?;
        let stage = async {
            // Both take a while and are independent. Existing clones come first: they are down.
            if no_clones {
                templates.stage().await;
            }
        };
        let (shared, ()) = tokio::join!(SharedDatabase::start(servers.clone()), stage);
        let engine =
            LocalEngine::new(host, options.max_clones, templates, servers, Arc::new(shared?), offenders);
        engine.recovery.run().await?;
        Ok(engine)
    }
}

async fn create_folders(state_dir: &StateDir) -> io::Result<()> {
    let dir = state_dir.clone();
    run_blocking(move || {
        for folder in [dir.clones(), dir.mariadb(), dir.template()] {
            create_dir(&folder, 0o711)?;
        }
        create_dir(&dir.deleted(), 0o700)?;
        // Programs of other users have to enter it. A supervisor removes it when it is empty, so it never is.
        create_dir(&dir.run(), 0o711)?;
        std::fs::write(dir.run().join(KEEP), "")?;
        clone_runtime::write(&dir.clone_runtime())
    })
    .await
}

/// The launcher, whose sandboxes work.
///
/// # Errors
/// This machine allows no sandboxes, and the operator has not allowed clones without.
async fn launcher(
    options: &LocalOptions,
    state_dir: &StateDir,
    binaries: &Binaries,
    users: Users,
) -> io::Result<Launcher> {
    let (prefix, dir, programs) = (cgroup_prefix(state_dir), state_dir.clone(), binaries.sandbox.clone());
    let (cgroups, sandbox) = run_blocking(move || {
        let sandbox = match programs {
            Ok(programs) => Ok(Sandbox::new(programs, &dir)?),
            Err(missing) => Err(missing),
        };
        Ok((Cgroups::find(&prefix), sandbox))
    })
    .await?;
    if !cgroups.missing().is_empty() {
        let missing = cgroups.missing().join(", ");
        tracing::warn!(
            missing,
            "control groups cannot be used: each process of a clone has limits of its own only"
        );
    }
    if !users.are_separate() {
        tracing::info!("not root: the programs of all clones run as this user");
    }
    if options.unsafe_no_sandbox {
        tracing::warn!("WPCLONE_UNSAFE_NO_SANDBOX is set: if sandboxes do not work, clones run without");
    }
    let (supervisor, run) = (options.supervisor.clone(), state_dir.run());
    let mut launcher = Launcher { supervisor, run, sandbox: None, cgroups, work: TaskTracker::new() };
    let checked = match sandbox {
        Ok(sandbox) => {
            launcher.sandbox = Some(sandbox);
            launcher.check_sandbox(users.of_slot(0)).await
        }
        Err(missing) => Err(io::Error::other(missing)),
    };
    if let Err(error) = checked {
        if !options.unsafe_no_sandbox {
            return Err(io::Error::other(format!("{NO_SANDBOX}: {error}")));
        }
        tracing::warn!(%error, "clones run without a sandbox: their PHP can attack this machine");
        launcher.sandbox = None;
    }
    Ok(launcher)
}

/// What the names of the control groups of a state folder begin with.
fn cgroup_prefix(state_dir: &StateDir) -> String {
    let hash = Sha256::digest(state_dir.root().as_os_str().as_encoded_bytes());
    format!("{COMMON_PREFIX}{}-", hex::encode(&hash[..4]))
}

/// Waits until the supervisors of the previous process have ended, and removes the folders of killed ones. What cannot be
/// removed of those keeps nobody from starting.
async fn wait_until_predecessor_is_gone(run: PathBuf) -> io::Result<()> {
    let end = Instant::now() + PREDECESSOR_TIMEOUT;
    loop {
        let folders = run.clone();
        let swept = run_blocking(move || wpclone_supervisor::sweep(&folders)).await?;
        if swept.running == 0 {
            return Ok(());
        }
        if Instant::now() >= end {
            let message = "programs of the previous process do not end";
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

impl LocalEngine {
    fn new(
        host: Arc<Host>,
        max_clones: usize,
        templates: Arc<TemplateStore>,
        servers: DatabaseServers,
        shared: Arc<SharedDatabase>,
        offenders: OffenderReceiver,
    ) -> Self {
        let tombstones = Tombstones::new(host.state_dir.deleted());
        let clones = Arc::new(LocalClones::new(max_clones, tombstones));
        let setup = Arc::new(CloneSetup {
            host: Arc::clone(&host),
            servers: servers.clone(),
            shared: Arc::clone(&shared),
        });
        let destroyer = Arc::new(Destroyer {
            host: Arc::clone(&host),
            servers,
            shared: Arc::clone(&shared),
            clones: Arc::clone(&clones),
        });
        let creator = Arc::new(Creator {
            setup: Arc::clone(&setup),
            clones: Arc::clone(&clones),
            templates: Arc::clone(&templates),
            destroyer: Arc::clone(&destroyer),
            slots: SlotAllocator::new(host.state_dir.last_slot(), host.users, Arc::clone(&host.lock)),
        });
        let matcher =
            Arc::new(SourceMatcher { setup: Arc::clone(&setup), templates: Arc::clone(&templates) });
        let recovery = Arc::new(Recovery {
            host: Arc::clone(&host),
            shared: Arc::clone(&shared),
            clones: Arc::clone(&clones),
            destroyer: Arc::clone(&destroyer),
            removals: Mutex::default(),
        });
        let offenders = tokio::sync::Mutex::new(offenders);
        Self { host, clones, shared, templates, setup, creator, matcher, destroyer, recovery, offenders }
    }

    /// The proxy's listener. A process that has just ended may still close its connections.
    pub(crate) async fn listen(&self) -> io::Result<TcpListener> {
        let end = Instant::now() + LISTEN_TIMEOUT;
        loop {
            match TcpListener::bind(self.host.addresses.listen()).await {
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                    sleep(Duration::from_millis(100)).await;
                }
                bound => return bound,
            }
        }
    }

    /// A clone, or why there is none.
    pub(crate) fn require(&self, name: &CloneName) -> Result<Arc<LocalClone>, ProvisionError> {
        self.clones.require(name, self.host.now())
    }

    /// See [`wpclone_provision::Provisioner::ensure_access`].
    pub(crate) async fn ensure_access(&self, entry: Arc<LocalClone>) -> Result<Access, ProvisionError> {
        let setup = Arc::clone(&self.setup);
        let ensured = tokio::spawn(async move {
            let _processes = entry.processes.lock().await;
            let info = entry.runnable()?;
            let secrets = setup.secrets(&entry).await?;
            setup.grant_access(&entry, &secrets).await?;
            Ok(secrets.into_access(info))
        });
        ensured.await.map_err(task_failed)?
    }

    /// Ends all programs.
    pub(crate) async fn stop(&self) {
        // What is being created or changed is completed.
        self.stop_clones().await;
        let launcher = &self.host.launcher;
        // A call may have been on its way to them.
        tokio::join!(launcher.close(), async {
            self.stop_clones().await;
            self.shared.stop().await;
        });
    }

    async fn stop_clones(&self) {
        let stops = self.clones.all().into_iter().map(|entry| async move {
            entry.set_serving(false);
            entry.processes.lock().await.stop().await;
        });
        futures_util::future::join_all(stops).await;
    }
}
