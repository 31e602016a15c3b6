//! Calls to a MariaDB server, by MariaDB's own client.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::command::run_command;

/// The most time that one call of the client may take, where no other limit is given.
pub const DATABASE_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The most time that a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a database server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseServerAddress {
    /// At a socket of this machine.
    Socket(PathBuf),
    /// Over the network.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The certificates (PEM) of which one has to have signed the server's; without them the connection is not
        /// encrypted.
        ca_file: Option<PathBuf>,
    },
}

/// A user of a database server.
#[derive(Debug, Clone)]
pub struct DatabaseClient {
    program: PathBuf,
    server: DatabaseServerAddress,
    user: String,
    password: SecretString,
}

impl DatabaseClient {
    /// A client; `program` is MariaDB's `mariadb`.
    #[must_use]
    pub fn new(
        program: PathBuf,
        server: DatabaseServerAddress,
        user: impl Into<String>,
        password: SecretString,
    ) -> Self {
        Self { program, server, user: user.into(), password }
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> bool {
        self.call(&["--execute", "SELECT 1"], b"", PING_TIMEOUT).await.is_ok()
    }

    /// Runs SQL. The rows are lines, with tabs between the columns.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses the login or a statement.
    pub async fn run(&self, schema: &str, sql: &[u8]) -> io::Result<String> {
        let output = self.call(&["--", schema], sql, DATABASE_CALL_TIMEOUT).await?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Runs SQL and returns the rows as bytes.
    ///
    /// # Errors
    /// As of [`Self::run`].
    pub async fn query(&self, sql: &str) -> io::Result<Vec<u8>> {
        self.call(&["--execute", sql], b"", DATABASE_CALL_TIMEOUT).await
    }

    /// Runs the client with these arguments.
    ///
    /// # Errors
    /// As of [`Self::run`], or it took longer than `limit`.
    pub async fn call(&self, args: &[&str], input: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
        // A server may not ask for files of ours.
        let batch = ["--batch", "--skip-column-names", "--local-infile=0"];
        let args: Vec<&str> = batch.iter().chain(args).copied().collect();
        self.call_program(&self.program, &args, input, limit).await
    }

    /// Runs another program of MariaDB against the server, such as `mariadb-dump`.
    ///
    /// # Errors
    /// As of [`Self::call`].
    pub async fn call_program(
        &self,
        program: &Path,
        args: &[&str],
        input: &[u8],
        limit: Duration,
    ) -> io::Result<Vec<u8>> {
        let mut all = vec!["--no-defaults".to_owned()];
        match &self.server {
            DatabaseServerAddress::Socket(socket) => all.push(format!("--socket={}", socket.display())),
            DatabaseServerAddress::Tcp { host, port, ca_file } => {
                all.extend([
                    "--protocol=tcp".to_owned(),
                    format!("--host={host}"),
                    format!("--port={port}"),
                    "--connect-timeout=10".to_owned(),
                ]);
                if let Some(file) = ca_file {
                    all.extend([
                        format!("--ssl-ca={}", file.display()),
                        "--ssl-verify-server-cert".to_owned(),
                    ]);
                }
            }
        }
        all.extend([format!("--user={}", self.user), "--default-character-set=utf8mb4".to_owned()]);
        all.extend(args.iter().filter(|arg| !arg.is_empty()).map(|&arg| arg.to_owned()));
        // Not an argument, which every user of the system could read.
        run_command(program, all, &[("MYSQL_PWD", self.password.expose_secret())], input, limit).await
    }

    /// Whether a connection can have this character set and, if it is not empty, this collation: both are letters, digits
    /// and underscores.
    pub async fn accepts_charset(&self, charset: &str, collation: &str) -> bool {
        // As WordPress does.
        let collate = if collation.is_empty() { String::new() } else { format!(" COLLATE {collation}") };
        self.query(&format!("SET NAMES {charset}{collate}")).await.is_ok()
    }
}
