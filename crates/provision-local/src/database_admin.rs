//! The administrator of a database server, by MariaDB's own client.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::binaries::Binaries;
use crate::command::run;
use crate::database_config::ARIA_CHECKPOINT_SECONDS;
use crate::database_sessions::{self, Sessions, XaTransaction};

/// The most time that one call of the client may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The most time that a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How often dropping a schema is tried: connections that are ended may hold its tables for a moment.
const DROP_ATTEMPTS: u32 = 4;
/// How long dropping a schema waits for its tables, in seconds.
const DROP_WAIT_SECONDS: u32 = 10;
/// How long finding tables of the engine MEMORY may take, in seconds: a clone can have any number of tables, and lock them.
const MEMORY_TABLES_TIMEOUT: u32 = 2;
/// The most schemas with such tables that are looked at, and the most tables of a schema that are emptied and closed.
const MAX_MEMORY_SCHEMAS: u32 = 64;
const MAX_RELEASED_TABLES: u32 = 20_000;
/// The most time that finding tables in use, or a checkpoint, may take.
const LOG_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The server's own schemas.
pub(crate) const OWN_SCHEMAS: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];
/// The privileges that clones have on their schema. Routines and events are left out: they are stored in tables of the
/// server, where one clone could fill the disk unnoticed.
const PRIVILEGES: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, \
                          CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW, TRIGGER";

/// The administrator of a database server.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseAdmin {
    socket: PathBuf,
    root_password: SecretString,
    client: PathBuf,
    dump: PathBuf,
    user_limits: UserLimits,
}

/// The limits of a clone's user that MariaDB enforces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserLimits {
    /// The most connections.
    pub(crate) connections: usize,
    /// How long a statement may run, unless the session changes that; see [`crate::database_watch`].
    pub(crate) statement: Duration,
}

impl DatabaseAdmin {
    pub(crate) fn new(
        socket: PathBuf,
        root_password: SecretString,
        binaries: &Binaries,
        user_limits: UserLimits,
    ) -> Self {
        let (client, dump) = (binaries.client.clone(), binaries.dump.clone());
        Self { socket, root_password, client, dump, user_limits }
    }

    /// The server's socket. Clones have sockets of their own, which lead to it.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
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

    /// Runs SQL and returns the rows as bytes.
    async fn query(&self, sql: &str) -> io::Result<Vec<u8>> {
        self.call(&self.client, &["--execute", sql], b"", CALL_TIMEOUT).await
    }

    /// Creates a schema and a user that sees nothing else, both with this name. Existing ones are dropped.
    pub(crate) async fn create(&self, name: &str, password: &SecretString) -> io::Result<()> {
        self.drop(name).await?;
        let sql = format!(
            "CREATE DATABASE `{name}` CHARACTER SET utf8mb4; \
             CREATE USER '{name}'@'localhost' IDENTIFIED BY '{}' \
             WITH MAX_USER_CONNECTIONS {} MAX_STATEMENT_TIME {}; \
             GRANT {PRIVILEGES} ON `{}`.* TO '{name}'@'localhost';",
            password.expose_secret(),
            self.user_limits.connections,
            self.user_limits.statement.as_secs(),
            // In a grant these two are wildcards.
            name.replace('_', "\\_").replace('%', "\\%"),
        );
        self.run("", sql.as_bytes()).await.map(drop)
    }

    /// Drops a schema and its user. Dropping missing ones succeeds.
    pub(crate) async fn drop(&self, name: &str) -> io::Result<()> {
        let drop = format!(
            "SET lock_wait_timeout={DROP_WAIT_SECONDS}; DROP DATABASE IF EXISTS `{name}`; \
             DROP USER IF EXISTS '{name}'@'localhost';"
        );
        let mut dropped = Ok(());
        for _ in 0..DROP_ATTEMPTS {
            // Nobody uses the schema any more, but a statement without end or a prepared transaction locks its tables.
            self.lock_account(name).await?;
            self.roll_back_prepared(&self.sessions().await?.prepared).await;
            dropped = self.run("", drop.as_bytes()).await.map(|_| ());
            if dropped.is_ok() {
                break;
            }
        }
        dropped
    }

    /// Whether a connection can have this character set and, if it is not empty, this collation: both are letters, digits and
    /// underscores.
    pub(crate) async fn accepts_charset(&self, charset: &str, collation: &str) -> bool {
        // As WordPress does.
        let collate = if collation.is_empty() { String::new() } else { format!(" COLLATE {collation}") };
        self.query(&format!("SET NAMES {charset}{collate}")).await.is_ok()
    }

    /// Ends all connections of a user and refuses new ones. Of a missing user this succeeds. It writes: on a full disk a server
    /// waits for space meanwhile, and lets nobody log in.
    pub(crate) async fn lock_account(&self, name: &str) -> io::Result<()> {
        let sql = format!(
            "ALTER USER IF EXISTS '{name}'@'localhost' ACCOUNT LOCK; KILL HARD CONNECTION USER '{name}'@'localhost';"
        );
        self.run("", sql.as_bytes()).await.map(|_| ())
    }

    /// Ends all connections of a user. It writes nothing.
    pub(crate) async fn end_connections(&self, name: &str) -> io::Result<()> {
        let sql = format!("KILL HARD CONNECTION USER '{name}'@'localhost'");
        self.run("", sql.as_bytes()).await.map(|_| ())
    }

    /// The connections of clones, their transactions, and prepared transactions.
    pub(crate) async fn sessions(&self) -> io::Result<Sessions> {
        Ok(Sessions::parse(&self.query(database_sessions::QUERY).await?))
    }

    /// Ends connections.
    pub(crate) async fn kill(&self, connections: impl IntoIterator<Item = u64>) {
        let sql: String = connections.into_iter().map(|id| format!("KILL HARD CONNECTION {id};\n")).collect();
        if !sql.is_empty() {
            // Some may have ended meanwhile.
            let _ = self.call(&self.client, &["--force"], sql.as_bytes(), CALL_TIMEOUT).await;
        }
    }

    /// Bytes that tables of the engine MEMORY take, by schema. Temporary ones are not among them.
    pub(crate) async fn memory_tables(&self) -> io::Result<BTreeMap<String, u64>> {
        let own = OWN_SCHEMAS.map(|schema| format!("'{schema}'")).join(", ");
        let limit = format!("SET max_statement_time={MEMORY_TABLES_TIMEOUT}");
        // The sizes open each table of a schema, so only those of schemas that have such tables are asked for.
        let schemas = format!(
            "{limit}; SELECT DISTINCT table_schema FROM information_schema.tables \
             WHERE engine = 'MEMORY' AND table_schema NOT IN ({own}) LIMIT {MAX_MEMORY_SCHEMAS}"
        );
        let schemas = self.run("", schemas.as_bytes()).await?;
        let mut sizes = limit;
        for schema in schemas.lines() {
            sizes.push_str(&format!(
                "; SELECT '{schema}', SUM(data_length + index_length) FROM information_schema.tables \
                 WHERE table_schema = '{schema}' AND engine = 'MEMORY'"
            ));
        }
        let sizes = self.run("", sizes.as_bytes()).await?;
        let parsed = sizes.lines().filter_map(|line| {
            let (schema, bytes) = line.split_once('\t')?;
            Some((schema.to_owned(), bytes.parse().ok()?))
        });
        Ok(parsed.collect())
    }

    /// The schemas whose tables are in use: by statements that run, by `LOCK TABLES` or by `HANDLER`.
    pub(crate) async fn schemas_in_use(&self) -> io::Result<BTreeSet<String>> {
        let tables = ["--execute", "SHOW OPEN TABLES WHERE In_use > 0"];
        let tables = self.call(&self.client, &tables, b"", LOG_CALL_TIMEOUT).await?;
        let tables = String::from_utf8_lossy(&tables);
        Ok(tables.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect())
    }

    /// Has Aria write a full checkpoint, and remove the part of its log that no transaction needs: its thread does so when it
    /// ends, and it is started anew when the interval is set.
    pub(crate) async fn checkpoint_aria(&self) -> io::Result<()> {
        let set = format!("SET GLOBAL aria_checkpoint_interval={ARIA_CHECKPOINT_SECONDS}");
        self.call(&self.client, &["--execute", &set], b"", LOG_CALL_TIMEOUT).await.map(drop)
    }

    /// Frees the memory that a schema's tables take: closes them, and empties those of the engine MEMORY, as a restart of the
    /// server would.
    pub(crate) async fn release_memory(&self, schema: &str) -> io::Result<()> {
        // Names are what a clone chose, so they are read in hex digits.
        let list = format!(
            "SELECT HEX(table_name), engine <=> 'MEMORY' FROM information_schema.tables \
             WHERE table_schema = '{schema}' AND table_type = 'BASE TABLE' LIMIT {MAX_RELEASED_TABLES}"
        );
        let mut sql = format!("SET lock_wait_timeout={DROP_WAIT_SECONDS};\n").into_bytes();
        for line in self.run("", list.as_bytes()).await?.lines() {
            let Some((name, is_in_memory)) = line.split_once('\t') else { continue };
            let Some(name) = hex::decode(name).ok().and_then(|name| String::from_utf8(name).ok()) else {
                continue;
            };
            let statement = if is_in_memory == "1" { "TRUNCATE TABLE" } else { "FLUSH TABLES" };
            sql.extend(format!("{statement} `{schema}`.`{}`;\n", name.replace('`', "``")).into_bytes());
        }
        self.call(&self.client, &["--force"], &sql, CALL_TIMEOUT).await.map(drop)
    }

    /// Rolls back prepared transactions that belong to no connection any more: they would keep their locks, and the undo
    /// logs of all users, for ever.
    pub(crate) async fn roll_back_prepared(&self, prepared: &[XaTransaction]) {
        for transaction in prepared {
            // A transaction of a connection that still exists is refused.
            let _ = self.query(&transaction.rollback()).await;
        }
    }

    /// All schemas except the server's own.
    pub(crate) async fn schemas(&self) -> io::Result<Vec<String>> {
        let all = self.run("", b"SELECT schema_name FROM information_schema.schemata").await?;
        Ok(all.lines().filter(|name| !OWN_SCHEMAS.contains(name)).map(str::to_owned).collect())
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
            // A server may not ask for files of ours.
            all.extend(["--batch", "--skip-column-names", "--local-infile=0"]);
        }
        all.extend(args.iter().filter(|arg| !arg.is_empty()));
        // Not an argument, which every user of the system could read.
        run(program, all, &[("MYSQL_PWD", self.root_password.expose_secret())], input, limit).await
    }
}
