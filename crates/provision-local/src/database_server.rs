//! MariaDB servers that the provisioner runs: lean, sandboxed, each as a user of its own, and reachable by a socket only.

use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::task::AbortOnDropHandle;
use wpclone_provision::{CloneName, UserLimits};
use zeroize::Zeroizing;

use crate::binaries::Binaries;
use crate::blocking::run_blocking;
use crate::database_admin::DatabaseAdmin;
use crate::database_config::{ServerPaths, arguments, init_sql, install_arguments, install_sandbox, sandbox};
use crate::database_limits::DatabaseLimits;
use crate::database_offenders::OffenderSender;
use crate::database_watch::{self, WatchedServer};
use crate::files::{create_closed_dir, create_dir, remove_all, write_atomically};
use crate::launcher::{Daemon, LaunchSpec, Launcher};
use crate::logs::log_tail;
use crate::random::random_hex;
use crate::state_dir::{StateDir, StateLock};
use crate::tree;
use crate::users::{Ids, Users, chown};

/// Installing takes some five seconds on an idle machine.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Starting takes half a second, recovery after a crash longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The name of the shared server's folder.
const SHARED_SERVER: &str = "shared";
/// Time for a clean shutdown. With the supervisor's own time, the server is gone ten seconds after the worker's death.
const GRACE: Duration = Duration::from_secs(5);

/// Starts database servers.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseServers {
    pub(crate) state_dir: StateDir,
    pub(crate) binaries: Binaries,
    pub(crate) launcher: Launcher,
    pub(crate) users: Users,
    pub(crate) lock: Arc<StateLock>,
    /// The most connections of a clone.
    pub(crate) connections_per_clone: usize,
    /// The most clones of the shared server.
    pub(crate) max_clones: usize,
    pub(crate) limits: DatabaseLimits,
    /// Bytes of the disk that clones leave free.
    pub(crate) disk_reserve: u64,
    /// Where clones are reported that are to be stopped.
    pub(crate) offenders: OffenderSender,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct DatabaseServer {
    admin: DatabaseAdmin,
    daemon: Daemon,
    watch: AbortOnDropHandle<()>,
}

impl DatabaseServers {
    /// The folder of a server.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.paths(name).folder
    }

    fn paths(&self, name: &str) -> ServerPaths {
        ServerPaths { folder: self.state_dir.mariadb().join(name) }
    }

    /// Starts the server that clones share; when `give_up` ends before it accepts connections, it is ended.
    pub(crate) async fn start_shared(&self, give_up: impl Future<Output = ()>) -> io::Result<DatabaseServer> {
        let connections = self.connections_per_clone.saturating_mul(self.max_clones);
        self.start(SHARED_SERVER, self.users.of_database(0), connections, give_up).await
    }

    /// Starts the server of a dedicated clone, which has this slot.
    pub(crate) async fn start_dedicated(&self, clone: &CloneName, slot: u32) -> io::Result<DatabaseServer> {
        self.start(clone.as_str(), self.users.of_database(slot), self.connections_per_clone, pending()).await
    }

    /// Starts a server. Its data is created if there is none. A server that does not start is gone then: the next one could
    /// not lock its files.
    async fn start(
        &self,
        name: &str,
        user: Option<Ids>,
        connections: usize,
        give_up: impl Future<Output = ()>,
    ) -> io::Result<DatabaseServer> {
        let paths = self.paths(name);
        // New at each start: no file contains it for long, and no system user can log in without it.
        let root_password = SecretString::from(random_hex::<16>()?);
        self.prepare(&paths, user, Zeroizing::new(init_sql(&root_password))).await?;
        let init = paths.init_sql();
        let launch = LaunchSpec {
            program: self.binaries.mariadbd.clone(),
            args: arguments(&paths, connections),
            log: paths.log(),
            user,
            grace: GRACE,
            sandbox: sandbox(&paths, connections),
        };
        let mut daemon = self.launcher.start(launch).await?;
        let user_limits =
            UserLimits { connections: self.connections_per_clone, statement: self.limits.statement };
        let admin = DatabaseAdmin::new(paths.socket(), root_password, &self.binaries, user_limits);
        let ready = tokio::select! {
            ready = daemon.until_ready(START_TIMEOUT, async || admin.ping().await) => ready,
            () = give_up => Err(io::Error::new(io::ErrorKind::Interrupted, "it is started anew")),
        };
        let _ = run_blocking(move || fs::remove_file(&init)).await;
        if let Err(error) = ready {
            daemon.stop().await;
            return Err(error);
        }
        let watched = WatchedServer {
            admin: admin.clone(),
            paths,
            limits: self.limits,
            disk_reserve: self.disk_reserve,
            offenders: self.offenders.clone(),
        };
        let watch = database_watch::watch(watched).await;
        Ok(DatabaseServer { admin, daemon, watch })
    }

    /// Prepares the folders of a server and gives them to its user.
    async fn prepare(
        &self,
        paths: &ServerPaths,
        user: Option<Ids>,
        init_sql: Zeroizing<String>,
    ) -> io::Result<()> {
        let data = paths.data();
        let has_data = run_blocking(move || Ok(data.is_dir())).await?;
        let pristine = if has_data { None } else { Some(self.pristine_data().await?) };
        let paths = paths.clone();
        let prepare = move || {
            // It is ours, so that nobody can replace what we write in it.
            create_closed_dir(&paths.folder, user)?;
            if let Some(pristine) = pristine {
                let new = paths.folder.join("new");
                remove_all(&new)?;
                tree::copy(&pristine, &new, user, &|_| false)?;
                // Only the server may read what clones store.
                create_dir(&new, 0o700)?;
                fs::rename(&new, paths.data())?;
            } else if !is_owned_by(&paths.data(), user)? {
                // Another version ran it as another user. No program of that user has the folder open any more.
                tree::chown_all(&paths.data(), user)?;
            }
            remove_all(&paths.tmp())?;
            for folder in [paths.tmp(), paths.run()] {
                create_dir(&folder, 0o700)?;
                chown(&folder, user)?;
            }
            write_atomically(&paths.init_sql(), init_sql.as_bytes(), 0o600)?;
            chown(&paths.init_sql(), user)
        };
        self.lock.run_blocking(prepare).await
    }

    /// The data of a freshly installed server, created once and then copied.
    async fn pristine_data(&self) -> io::Result<PathBuf> {
        let mariadb = self.state_dir.mariadb();
        let (data, new) = (mariadb.join("pristine"), mariadb.join("pristine-new"));
        let user = self.users.of_database(0);
        let (folder, existing) = (new.clone(), data.clone());
        let exists = run_blocking(move || {
            if existing.is_dir() {
                return Ok(true);
            }
            remove_all(&folder)?;
            create_dir(&folder, 0o700)?;
            chown(&folder, user).map(|()| false)
        });
        if exists.await? {
            return Ok(data);
        }
        let log = mariadb.join("install.log");
        // A supervisor does not report its program's exit status, and an installation that was killed leaves files that
        // look like data, so a last file marks success.
        let installed = new.join("installed");
        let mut args = vec![
            "-c".to_owned(),
            "done=$1; shift; \"$@\" && : >\"$done\"".into(),
            "sh".into(),
            installed.display().to_string(),
            self.binaries.install_db.display().to_string(),
        ];
        args.extend(install_arguments(&new));
        let launch = LaunchSpec {
            program: "/bin/sh".into(),
            args,
            log: log.clone(),
            user,
            grace: Duration::ZERO,
            sandbox: install_sandbox(&new),
        };
        let ended = self.launcher.start(launch).await?.wait(INSTALL_TIMEOUT).await;
        let moved = move || {
            if !ended || !installed.is_file() || !new.join("mysql").is_dir() || !new.join("ibdata1").is_file()
            {
                return Ok(None);
            }
            fs::remove_file(&installed)?;
            fs::rename(&new, &data)?;
            Ok(Some(data))
        };
        match run_blocking(moved).await? {
            Some(data) => Ok(data),
            None => Err(io::Error::other(format!("mariadb-install-db: {}", log_tail(&log).await))),
        }
    }
}

/// Whether a folder belongs to this user, or to us when programs run as ourselves.
fn is_owned_by(folder: &Path, user: Option<Ids>) -> io::Result<bool> {
    let owner = fs::symlink_metadata(folder)?.uid();
    Ok(user.is_none_or(|ids| ids.uid == owner))
}

impl DatabaseServer {
    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.daemon.is_running()
    }

    /// The process id of its supervisor, while that runs.
    pub(crate) fn supervisor_pid(&self) -> Option<u32> {
        self.daemon.supervisor_pid()
    }

    /// Ends it and waits until it is gone. It can be called again.
    pub(crate) async fn stop(&mut self) {
        self.watch.abort();
        self.daemon.stop().await;
    }

    /// Its administrator, which can be used without holding the server.
    pub(crate) fn admin(&self) -> DatabaseAdmin {
        self.admin.clone()
    }
}
