//! MariaDB servers that the provisioner runs: on a socket only, lean.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::dirs::{Dirs, Permit, make_dir, remove_dir};
use super::launch::{Launch, Launcher, Service, run};
use super::programs::Programs;
use super::record::random_hex;
use super::tree;
use super::users::{Ids, give};

/// Installing takes some five seconds on an idle machine.
const INSTALL_LIMIT: Duration = Duration::from_secs(120);
/// Starting takes half a second, recovery after a crash longer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The longest that one call of the client may take.
const SQL_LIMIT: Duration = Duration::from_secs(60);
/// Time for an orderly end; the guard's own time comes on top, and both within ten seconds of the worker's death.
const GRACE: Duration = Duration::from_secs(5);

/// What all servers need.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) dirs: Dirs,
    pub(crate) programs: Programs,
    pub(crate) launcher: Launcher,
    pub(crate) user: Option<Ids>,
    pub(crate) held: Arc<Permit>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct MariaDb {
    socket: PathBuf,
    root_password: SecretString,
    client: PathBuf,
    dump: PathBuf,
    service: Service,
}

impl Servers {
    /// The folder of a server's data.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.dirs.mariadb().join(name)
    }

    /// Starts the server of this name; its data is made when there is none.
    pub(crate) async fn start(&self, name: &str) -> io::Result<MariaDb> {
        let folder = self.folder(name);
        let data = folder.join("data");
        if !data.is_dir() {
            let pristine = self.pristine().await?;
            let (folder, new, data, user) = (folder.clone(), folder.join("new"), data.clone(), self.user);
            let copied = self.held.blocking(move || {
                // Ours, so that nothing in it can be put in the place of what we write.
                make_dir(&folder, 0o711)?;
                make_dir(&folder.join("run"), 0o711)?;
                give(&folder.join("run"), user)?;
                remove_dir(&new)?;
                tree::copy(&pristine, &new, user)?;
                // For nobody but the server: what clones store is in there.
                make_dir(&new, 0o700)?;
                fs::rename(&new, &data)
            });
            copied.await?;
        }
        let (tmp, user) = (folder.join("tmp"), self.user);
        super::blocking(move || {
            remove_dir(&tmp)?;
            make_dir(&tmp, 0o700)?;
            give(&tmp, user)
        })
        .await?;
        // Set anew at each start: nothing that lies on the disk opens the server, and no user of the system does.
        let root_password = SecretString::from(random_hex::<16>()?);
        let (init, socket) = (folder.join("init.sql"), folder.join("run/sock"));
        super::dirs::write_whole(&init, init_sql(&root_password).as_bytes(), 0o600)?;
        give(&init, self.user)?;
        let log = folder.join("log");
        let mut service = self
            .launcher
            .start(Launch {
                program: &self.programs.mariadbd,
                args: arguments(&folder, &socket, &init),
                log: &log,
                user: self.user,
                own_network: true,
                grace: GRACE,
            })
            .await?;
        let (client, dump) = (self.programs.client.clone(), self.programs.dump.clone());
        let ready = async || {
            let ping = ["--execute", "SELECT 1"];
            call(&client, &socket, &root_password, &ping, b"", Duration::from_secs(5)).await.is_ok()
        };
        let became = service.ready(START_LIMIT, ready).await;
        let _ = fs::remove_file(&init);
        became?;
        Ok(MariaDb { socket, root_password, client, dump, service })
    }

    /// Data as it is after installation, made once.
    async fn pristine(&self) -> io::Result<PathBuf> {
        let (made, new) = (self.dirs.mariadb().join("pristine"), self.dirs.mariadb().join("pristine-new"));
        if made.is_dir() {
            return Ok(made);
        }
        let (folder, user) = (new.clone(), self.user);
        super::blocking(move || {
            remove_dir(&folder)?;
            make_dir(&folder, 0o700)?;
            give(&folder, user)
        })
        .await?;
        let log = self.dirs.mariadb().join("install.log");
        // As the user itself, so that it has nothing to change to. A guard does not tell how its program ended, and one
        // that was killed leaves files that look like data: the last of them says that it went well.
        let installed = new.join("installed");
        let args = [
            "-c".to_owned(),
            "done=$1; shift; \"$@\" && : >\"$done\"".into(),
            "sh".into(),
            installed.display().to_string(),
            self.programs.install_db.display().to_string(),
            "--no-defaults".into(),
            format!("--datadir={}", new.display()),
            "--auth-root-authentication-method=normal".into(),
            "--skip-test-db".into(),
            "--skip-name-resolve".into(),
            format!("--innodb-log-file-size={FIRST_LOG_FILE}"),
        ];
        let launch = Launch {
            program: Path::new("/bin/sh"),
            args: args.to_vec(),
            log: &log,
            user: self.user,
            own_network: false,
            grace: Duration::ZERO,
        };
        let ended = self.launcher.start(launch).await?.ended(INSTALL_LIMIT).await;
        if !ended || !installed.is_file() || !new.join("mysql").is_dir() || !new.join("ibdata1").is_file() {
            return Err(io::Error::other(format!("mariadb-install-db: {}", super::launch::tail(&log))));
        }
        fs::remove_file(&installed)?;
        fs::rename(&new, &made)?;
        Ok(made)
    }
}

/// InnoDB's log: enough for an import not to wait for checkpoints all the time.
const LOG_FILE: &str = "96M";
/// The same in data as it is after installation: a small one, as it is copied. A server makes it larger when it starts.
const FIRST_LOG_FILE: &str = "4M";

/// Only root by password; the other accounts that installation makes go.
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
        format!("--innodb-log-file-size={LOG_FILE}"),
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
            // Sources have zero dates and row formats that a strict server refuses.
            "--sql-mode=NO_ENGINE_SUBSTITUTION",
            "--innodb-strict-mode=OFF",
            "--max-allowed-packet=256M",
            "--max-connections=400",
            // What is committed survives the server's death; of a power cut it may lose the last second.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=256M",
            "--key-buffer-size=8M",
            "--aria-pagecache-buffer-size=8M",
        ]
        .map(str::to_owned),
    );
    args
}

impl MariaDb {
    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.service.runs()
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.service.stop().await;
    }

    /// What can be asked of it without holding it.
    pub(crate) fn handle(&self) -> Sql {
        let (socket, client, dump) = (self.socket.clone(), self.client.clone(), self.dump.clone());
        Sql { socket, root_password: self.root_password.clone(), client, dump }
    }
}

/// A server's administrator.
#[derive(Clone)]
pub(crate) struct Sql {
    pub(crate) socket: PathBuf,
    root_password: SecretString,
    client: PathBuf,
    dump: PathBuf,
}

impl Sql {
    /// Runs SQL; rows come as lines, columns apart by tabs.
    pub(crate) async fn run(&self, schema: &str, sql: &[u8]) -> io::Result<String> {
        let out =
            call(&self.client, &self.socket, &self.root_password, &["--", schema], sql, SQL_LIMIT).await?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// A new schema and a user that sees nothing else, both of this name; those that were there are dropped.
    pub(crate) async fn create(&self, name: &str, password: &SecretString) -> io::Result<()> {
        self.drop(name).await?;
        let sql = format!(
            "CREATE DATABASE `{name}` CHARACTER SET utf8mb4; \
             CREATE USER '{name}'@'localhost' IDENTIFIED BY '{}' WITH MAX_USER_CONNECTIONS 64; \
             GRANT ALL ON `{}`.* TO '{name}'@'localhost';",
            password.expose_secret(),
            // In a grant these two would match others.
            name.replace('_', "\\_").replace('%', "\\%"),
        );
        self.run("", sql.as_bytes()).await.map(drop)
    }

    /// Drops a schema and its user; that there are none is as good.
    pub(crate) async fn drop(&self, name: &str) -> io::Result<()> {
        let sql = format!("DROP DATABASE IF EXISTS `{name}`; DROP USER IF EXISTS '{name}'@'localhost';");
        self.run("", sql.as_bytes()).await.map(drop)
    }

    /// All schemas but the server's own.
    pub(crate) async fn schemas(&self) -> io::Result<Vec<String>> {
        let all = self.run("", b"SELECT schema_name FROM information_schema.schemata").await?;
        let own = ["information_schema", "mysql", "performance_schema", "sys"];
        Ok(all.lines().filter(|name| !own.contains(name)).map(str::to_owned).collect())
    }

    /// A schema as SQL.
    pub(crate) async fn dump(&self, name: &str) -> io::Result<Vec<u8>> {
        let args = ["--skip-dump-date", "--skip-comments", "--hex-blob", "--", name];
        call(&self.dump, &self.socket, &self.root_password, &args, b"", SQL_LIMIT).await
    }
}

async fn call(
    program: &Path,
    socket: &Path,
    password: &SecretString,
    args: &[&str],
    input: &[u8],
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let socket = format!("--socket={}", socket.display());
    let mut all = vec!["--no-defaults", socket.as_str(), "--user=root", "--default-character-set=utf8mb4"];
    if program.ends_with("mariadb") {
        all.extend(["--batch", "--skip-column-names"]);
    }
    all.extend(args.iter().filter(|arg| !arg.is_empty()));
    // Not an argument, which every user of the system could read.
    run(program, all, &[("MYSQL_PWD", password.expose_secret())], input, limit).await
}
