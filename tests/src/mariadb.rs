//! One MariaDB for all sites of this process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;
use tokio::process::Command;

use crate::Result;
use crate::command::{command, run, run_args};
use crate::service::{Launch, Service};
use crate::user::{OsUser, current_user_name, give, os_user};
use crate::util::{at, base_folder, cache, installed, random_text};

/// A MariaDB server that listens on a socket only. Whoever runs the lab is its root.
#[derive(Debug)]
pub(crate) struct MariaDb {
    socket: PathBuf,
    service: Service,
}

impl MariaDb {
    pub(crate) async fn start() -> Result<Self> {
        let user = os_user("mysql")?;
        let folder = base_folder().await?.join("mariadb");
        fs::create_dir(&folder).map_err(at(&folder))?;
        let (data, socket) = (folder.join("data"), folder.join("sock"));
        copy(&pristine(&user).await?, &data).await?;
        give(&folder, &user)?;
        let launch = Launch { run_as: user.change_to, ..Launch::new("mariadb", installed("mariadbd")?) };
        let service = Service::start(launch.args([
            "--no-defaults".to_owned(),
            format!("--datadir={}", data.display()),
            format!("--socket={}", socket.display()),
            "--skip-networking".into(),
            "--skip-log-bin".into(),
            "--character-set-server=utf8mb4".into(),
            // The data is removed with the process, so it need not be synced.
            "--innodb-flush-log-at-trx-commit=0".into(),
            "--innodb-doublewrite=0".into(),
            "--innodb-buffer-pool-size=64M".into(),
            "--innodb-log-file-size=8M".into(),
        ]))
        .await?;
        service.ready(|| async { UnixStream::connect(&socket).await.is_ok() }).await?;
        Ok(Self { socket, service })
    }

    pub(crate) fn end(&self) {
        self.service.end();
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs SQL as root; rows come back as lines, columns apart by tabs.
    pub(crate) async fn sql(&self, schema: &str, sql: &str) -> Result<String> {
        let mut client = client(&self.socket)?;
        client.arg(schema);
        run(client, sql.as_bytes()).await
    }

    /// A schema with a user of its own.
    pub(crate) async fn schema(&self, name: &str) -> Result<Schema> {
        let password = random_text()?;
        self.sql(
            "",
            &format!(
                "CREATE DATABASE `{name}`; CREATE USER '{name}'@localhost IDENTIFIED BY '{password}'; \
             GRANT ALL ON `{name}`.* TO '{name}'@localhost;"
            ),
        )
        .await?;
        Ok(Schema { name: name.to_owned(), password, socket: self.socket.clone() })
    }

    /// The schema as SQL.
    pub(crate) async fn dump(&self, schema: &Schema) -> Result<String> {
        let socket = self.socket.display().to_string();
        run_args("mariadb-dump", ["--no-defaults", "--socket", &socket, "--skip-dump-date", &schema.name])
            .await
    }

    /// The schemas that sites have.
    pub(crate) async fn schemas(&self) -> Result<Vec<String>> {
        let all = self.sql("", "SELECT schema_name FROM information_schema.schemata").await?;
        let system = ["information_schema", "mysql", "performance_schema", "sys"];
        Ok(all.lines().filter(|name| !system.contains(name)).map(str::to_owned).collect())
    }
}

/// A schema and its user. Dropping it removes both.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) socket: PathBuf,
}

impl Drop for Schema {
    fn drop(&mut self) {
        let Ok(client) = installed("mariadb") else { return };
        let sql = format!("DROP DATABASE IF EXISTS `{0}`; DROP USER IF EXISTS '{0}'@localhost", self.name);
        // The server may be gone already, and the schema with it.
        let _ = std::process::Command::new(client)
            .arg("--no-defaults")
            .arg("--socket")
            .arg(&self.socket)
            .args(["--execute", &sql])
            .output();
    }
}

/// A freshly installed data folder. Creating one takes seconds, so it is cached.
async fn pristine(user: &OsUser) -> Result<PathBuf> {
    let version = run_args("mariadbd", ["--no-defaults", "--version"]).await?;
    let version: String = version.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
    let kept = cache()?.join("mariadb").join(format!("{version}-{}", user.name));
    if kept.join("mysql").is_dir() {
        return Ok(kept);
    }
    // Created where the user `mysql` has access; the cache may lie below a closed home.
    let fresh = base_folder().await?.join("mariadb-install");
    fs::create_dir(&fresh).map_err(at(&fresh))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).map_err(at(&fresh))?;
    give(&fresh, user)?;
    run_args(
        "mariadb-install-db",
        [
            "--no-defaults".to_owned(),
            format!("--user={}", user.name),
            format!("--datadir={}", fresh.display()),
            "--auth-root-authentication-method=socket".into(),
            format!("--auth-root-socket-user={}", current_user_name()?),
            "--skip-test-db".into(),
            "--skip-name-resolve".into(),
            "--innodb-log-file-size=8M".into(),
        ],
    )
    .await?;
    keep(&fresh, &kept).await?;
    Ok(kept)
}

/// Copies a folder into the cache atomically; other processes may do the same concurrently.
async fn keep(made: &Path, kept: &Path) -> Result<()> {
    let own = kept.with_extension(random_text()?);
    if let Some(parent) = kept.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    copy(made, &own).await?;
    if fs::rename(&own, kept).is_err() {
        let _ = fs::remove_dir_all(&own);
    }
    Ok(())
}

/// Copies a folder with owners and links.
pub(crate) async fn copy(from: &Path, to: &Path) -> Result<()> {
    run_args("cp", ["-a".as_ref(), from.as_os_str(), to.as_os_str()]).await?;
    Ok(())
}

/// Copies a folder whose files nobody changes: they are linked.
pub(crate) async fn link(from: &Path, to: &Path) -> Result<()> {
    run_args("cp", ["-al".as_ref(), from.as_os_str(), to.as_os_str()]).await?;
    Ok(())
}

/// The client program, for rows as lines of columns with tabs between them.
pub(crate) fn client(socket: &Path) -> Result<Command> {
    let mut client = command(&installed("mariadb")?);
    client.args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"]);
    client.arg("--socket").arg(socket);
    Ok(client)
}
