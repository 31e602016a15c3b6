//! The administrator of a database server, by MariaDB's own client.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::binaries::Binaries;
use crate::command::run;

/// The most time that one call of the client may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The most time that a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The administrator of a database server.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseAdmin {
    socket: PathBuf,
    root_password: SecretString,
    client: PathBuf,
    dump: PathBuf,
}

impl DatabaseAdmin {
    pub(crate) fn new(socket: PathBuf, root_password: SecretString, binaries: &Binaries) -> Self {
        Self { socket, root_password, client: binaries.client.clone(), dump: binaries.dump.clone() }
    }

    /// The server's socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The folder with the server's socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.socket.parent().unwrap_or(&self.socket)
    }

    /// Whether the server answers.
    pub(crate) async fn ping(&self) -> bool {
        self.call(&self.client, &["--execute", "SELECT 1"], b"", PING_TIMEOUT).await.is_ok()
    }

    /// Runs SQL. The rows are lines, with tabs between the columns.
    pub(crate) async fn run(&self, schema: &str, sql: &[u8]) -> io::Result<String> {
        let output = self.call(&self.client, &["--", schema], sql, CALL_TIMEOUT).await?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Creates a schema and a user that sees nothing else, both with this name. Existing ones are dropped.
    pub(crate) async fn create(&self, name: &str, password: &SecretString) -> io::Result<()> {
        self.drop(name).await?;
        let sql = format!(
            "CREATE DATABASE `{name}` CHARACTER SET utf8mb4; \
             CREATE USER '{name}'@'localhost' IDENTIFIED BY '{}' WITH MAX_USER_CONNECTIONS 64; \
             GRANT ALL ON `{}`.* TO '{name}'@'localhost';",
            password.expose_secret(),
            // In a grant these two are wildcards.
            name.replace('_', "\\_").replace('%', "\\%"),
        );
        self.run("", sql.as_bytes()).await.map(drop)
    }

    /// Drops a schema and its user. Dropping missing ones succeeds.
    pub(crate) async fn drop(&self, name: &str) -> io::Result<()> {
        let sql = format!("DROP DATABASE IF EXISTS `{name}`; DROP USER IF EXISTS '{name}'@'localhost';");
        self.run("", sql.as_bytes()).await.map(drop)
    }

    /// All schemas except the server's own.
    pub(crate) async fn schemas(&self) -> io::Result<Vec<String>> {
        let all = self.run("", b"SELECT schema_name FROM information_schema.schemata").await?;
        let own = ["information_schema", "mysql", "performance_schema", "sys"];
        Ok(all.lines().filter(|name| !own.contains(name)).map(str::to_owned).collect())
    }

    /// A schema as SQL.
    pub(crate) async fn dump(&self, name: &str) -> io::Result<Vec<u8>> {
        let args = ["--skip-dump-date", "--skip-comments", "--hex-blob", "--", name];
        self.call(&self.dump, &args, b"", CALL_TIMEOUT).await
    }

    async fn call(
        &self,
        program: &Path,
        args: &[&str],
        input: &[u8],
        limit: Duration,
    ) -> io::Result<Vec<u8>> {
        let socket = format!("--socket={}", self.socket.display());
        let mut all =
            vec!["--no-defaults", socket.as_str(), "--user=root", "--default-character-set=utf8mb4"];
        if program == self.client {
            all.extend(["--batch", "--skip-column-names"]);
        }
        all.extend(args.iter().filter(|arg| !arg.is_empty()));
        // Not an argument, which every user of the system could read.
        run(program, all, &[("MYSQL_PWD", self.root_password.expose_secret())], input, limit).await
    }
}
