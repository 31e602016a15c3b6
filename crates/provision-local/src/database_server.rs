//! MariaDB servers that the provisioner runs: lean, and reachable by a socket only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::binaries::Binaries;
use crate::blocking::run_blocking;
use crate::command::log_tail;
use crate::database_admin::DatabaseAdmin;
use crate::files::{create_dir, remove_all, write_atomically};
use crate::launcher::{Daemon, LaunchSpec, Launcher};
use crate::random::random_hex;
use crate::sandbox::{ResourceLimits, SandboxSpec};
use crate::state_dir::{StateDir, StateLock};
use crate::tree;
use crate::users::{Ids, chown};

/// Installing takes some five seconds on an idle machine.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Starting takes half a second, recovery after a crash longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for a clean shutdown. With the supervisor's own time, the server is gone ten seconds after the worker's death.
const GRACE: Duration = Duration::from_secs(5);

/// What a server uses at most: it has a thread for each connection.
const LIMITS: ResourceLimits =
    ResourceLimits { processes: 600, memory_bytes: 2 << 30, cpu_weight: 100, open_files: 32_768 };

/// Starts database servers.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseServers {
    pub(crate) state_dir: StateDir,
    pub(crate) binaries: Binaries,
    pub(crate) launcher: Launcher,
    pub(crate) user: Option<Ids>,
    pub(crate) lock: Arc<StateLock>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct DatabaseServer {
    admin: DatabaseAdmin,
    daemon: Daemon,
}

impl DatabaseServers {
    /// The folder of a server.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.state_dir.mariadb().join(name)
    }

    /// Starts the server of this name. Its data is created if there is none.
    pub(crate) async fn start(&self, name: &str) -> io::Result<DatabaseServer> {
        let folder = self.folder(name);
        let data = folder.join("data");
        if !data.is_dir() {
            let pristine = self.pristine_data().await?;
            let (folder, new, data, user) = (folder.clone(), folder.join("new"), data.clone(), self.user);
            let copied = self.lock.run_blocking(move || {
                // It is ours, so that nobody can replace what we write in it.
                create_dir(&folder, 0o711)?;
                create_dir(&folder.join("run"), 0o711)?;
                chown(&folder.join("run"), user)?;
                remove_all(&new)?;
                tree::copy(&pristine, &new, user, &|_| false)?;
                // Only the server may read what clones store.
                create_dir(&new, 0o700)?;
                fs::rename(&new, &data)
            });
            copied.await?;
        }
        let (tmp, user) = (folder.join("tmp"), self.user);
        run_blocking(move || {
            remove_all(&tmp)?;
            create_dir(&tmp, 0o700)?;
            chown(&tmp, user)
        })
        .await?;
        // New at each start: no file contains it for long, and no system user can log in without it.
        let root_password = SecretString::from(random_hex::<16>()?);
        let (init, socket) = (folder.join("init.sql"), folder.join("run/sock"));
        let (sql, file, user) = (Zeroizing::new(init_sql(&root_password)), init.clone(), self.user);
        let written = move || {
            write_atomically(&file, sql.as_bytes(), 0o600)?;
            chown(&file, user)
        };
        run_blocking(written).await?;
        let log = folder.join("log");
        let mut daemon = self
            .launcher
            .start(LaunchSpec {
                program: &self.binaries.mariadbd,
                args: arguments(&folder, &socket, &init),
                log: &log,
                user: self.user,
                grace: GRACE,
                sandbox: SandboxSpec {
                    read_only: vec![init.clone()],
                    read_write: vec![folder.join("data"), folder.join("tmp"), folder.join("run")],
                    limits: LIMITS,
                },
            })
            .await?;
        let admin = DatabaseAdmin::new(socket, root_password, &self.binaries);
        let ready = daemon.until_ready(START_TIMEOUT, async || admin.ping().await).await;
        let _ = run_blocking(move || fs::remove_file(&init)).await;
        ready?;
        Ok(DatabaseServer { admin, daemon })
    }

    /// The data of a freshly installed server, created once and then copied.
    async fn pristine_data(&self) -> io::Result<PathBuf> {
        let mariadb = self.state_dir.mariadb();
        let (data, new) = (mariadb.join("pristine"), mariadb.join("pristine-new"));
        if data.is_dir() {
            return Ok(data);
        }
        let (folder, user) = (new.clone(), self.user);
        run_blocking(move || {
            remove_all(&folder)?;
            create_dir(&folder, 0o700)?;
            chown(&folder, user)
        })
        .await?;
        let log = mariadb.join("install.log");
        // A supervisor does not report its program's exit status, and an installation that was killed leaves files that
        // look like data, so a last file marks success.
        let installed = new.join("installed");
        let args = [
            "-c".to_owned(),
            "done=$1; shift; \"$@\" && : >\"$done\"".into(),
            "sh".into(),
            installed.display().to_string(),
            self.binaries.install_db.display().to_string(),
            "--no-defaults".into(),
            format!("--datadir={}", new.display()),
            "--auth-root-authentication-method=normal".into(),
            "--skip-test-db".into(),
            "--skip-name-resolve".into(),
            format!("--innodb-log-file-size={PRISTINE_LOG_SIZE}"),
        ];
        let launch = LaunchSpec {
            program: Path::new("/bin/sh"),
            args: args.to_vec(),
            log: &log,
            user: self.user,
            grace: Duration::ZERO,
            sandbox: SandboxSpec { read_only: Vec::new(), read_write: vec![new.clone()], limits: LIMITS },
        };
        let ended = self.launcher.start(launch).await?.wait(INSTALL_TIMEOUT).await;
        if !ended || !installed.is_file() || !new.join("mysql").is_dir() || !new.join("ibdata1").is_file() {
            return Err(io::Error::other(format!("mariadb-install-db: {}", log_tail(&log))));
        }
        let moved = move || {
            fs::remove_file(&installed)?;
            fs::rename(&new, &data)?;
            Ok(data)
        };
        run_blocking(moved).await
    }
}

/// The size of InnoDB's log: large enough that an import does not wait for checkpoints.
const LOG_SIZE: &str = "96M";
/// The same in the pristine data, which is copied for each server. A server resizes it when it starts.
const PRISTINE_LOG_SIZE: &str = "4M";

/// Sets root's password and drops the other accounts that the installation created.
fn init_sql(root_password: &SecretString) -> String {
    let drop = ["''@'localhost'", "'mysql'@'localhost'", "'root'@'127.0.0.1'", "'root'@'::1'"];
    let mut sql = format!(
        "ALTER USER 'root'@'localhost' IDENTIFIED VIA mysql_native_password USING PASSWORD('{}');\n",
        root_password.expose_secret()
    );
    for user in drop {
        sql.push_str(&format!("DROP USER IF EXISTS {user};\n"));
    }
    sql
}

fn arguments(folder: &Path, socket: &Path, init: &Path) -> Vec<String> {
    let data = folder.join("data");
    let mut args = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        format!("--tmpdir={}", folder.join("tmp").display()),
        format!("--socket={}", socket.display()),
        format!("--init-file={}", init.display()),
        format!("--pid-file={}", data.join("pid").display()),
        format!("--innodb-log-file-size={LOG_SIZE}"),
    ];
    args.extend(
        [
            "--skip-networking",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--character-set-server=utf8mb4",
            "--local-infile=0",
            "--event-scheduler=OFF",
            // Sources have zero dates and row formats that a strict server rejects.
            "--sql-mode=NO_ENGINE_SUBSTITUTION",
            "--innodb-strict-mode=OFF",
            "--max-allowed-packet=256M",
            "--max-connections=400",
            // Commits survive a crash of the server; a power failure may lose the last second.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=256M",
            "--key-buffer-size=8M",
            "--aria-pagecache-buffer-size=8M",
        ]
        .map(str::to_owned),
    );
    args
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

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.daemon.stop().await;
    }

    /// Its administrator, which can be used without holding the server.
    pub(crate) fn admin(&self) -> DatabaseAdmin {
        self.admin.clone()
    }
}
