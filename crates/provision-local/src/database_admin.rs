//! The administrator of a database server, by MariaDB's own client.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use wpclone_provision::{
    CloneAccount, DATABASE_CALL_TIMEOUT, DROP_WAIT_SECONDS, DatabaseClient, DatabaseServerAddress, UserLimits,
};

use crate::binaries::Binaries;
use crate::database_config::ARIA_CHECKPOINT_SECONDS;
use crate::database_sessions::{self, Sessions};

/// How often dropping a schema is tried: connections that are ended may hold its tables for a moment.
const DROP_ATTEMPTS: u32 = 4;
/// How long finding tables of the engine MEMORY may take, in seconds: a clone can have any number of tables, and lock them.
const MEMORY_TABLES_TIMEOUT: u32 = 2;
/// The most schemas with such tables that are looked at, and the most tables of a schema that are emptied and closed.
const MAX_MEMORY_SCHEMAS: u32 = 64;
const MAX_RELEASED_TABLES: u32 = 20_000;
/// The most time that finding tables in use, or a checkpoint, may take.
const LOG_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The server's own schemas.
pub(crate) const OWN_SCHEMAS: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// The administrator of a database server.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseAdmin {
    socket: PathBuf,
    client: DatabaseClient,
    dump: PathBuf,
    user_limits: UserLimits,
}

impl DatabaseAdmin {
    pub(crate) fn new(
        socket: PathBuf,
        root_password: SecretString,
        binaries: &Binaries,
        user_limits: UserLimits,
    ) -> Self {
        let server = DatabaseServerAddress::Socket(socket.clone());
        let client = DatabaseClient::new(binaries.client.clone(), server, "root", root_password);
        Self { socket, client, dump: binaries.dump.clone(), user_limits }
    }

    /// The server's socket. Clones have sockets of their own, which lead to it.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether the server answers.
    pub(crate) async fn ping(&self) -> bool {
        self.client.ping().await
    }

    /// Runs SQL. The rows are lines, with tabs between the columns.
    pub(crate) async fn run(&self, schema: &str, sql: &[u8]) -> io::Result<String> {
        self.client.run(schema, sql).await
    }

    /// Runs SQL and returns the rows as bytes.
    async fn query(&self, sql: &str) -> io::Result<Vec<u8>> {
        self.client.query(sql).await
    }

    /// Creates a schema and a user that sees nothing else, both with this name. Existing ones are dropped.
    pub(crate) async fn create(&self, name: &str, password: &SecretString) -> io::Result<()> {
        self.drop(name).await?;
        let sql = account(name).ensure_sql(password, self.user_limits);
        self.run("", sql.as_bytes()).await.map(drop)
    }

    /// Drops a schema and its user. Dropping missing ones succeeds.
    pub(crate) async fn drop(&self, name: &str) -> io::Result<()> {
        let drop = account(name).drop_sql();
        let mut dropped = Ok(());
        for _ in 0..DROP_ATTEMPTS {
            // Nobody uses the schema any more, but a statement without end or a prepared transaction locks its tables.
            self.lock_account(name).await?;
            // It may end early for another clone's transactions. What is wrong dropping says.
            let _ = self.client.roll_back_prepared().await;
            dropped = self.run("", drop.as_bytes()).await.map(|_| ());
            if dropped.is_ok() {
                break;
            }
        }
        dropped
    }

    /// Ends all connections of a user and refuses new ones. Of a missing user this succeeds. It writes: on a full disk a server
    /// waits for space meanwhile, and lets nobody log in.
    pub(crate) async fn lock_account(&self, name: &str) -> io::Result<()> {
        let sql = account(name).lock_sql();
        self.run("", sql.as_bytes()).await.map(|_| ())
    }

    /// Ends all connections of a user. It writes nothing.
    pub(crate) async fn end_connections(&self, name: &str) -> io::Result<()> {
        let sql = format!("KILL HARD CONNECTION USER '{name}'@'localhost'");
        self.run("", sql.as_bytes()).await.map(|_| ())
    }

    /// The connections of clones, and their transactions.
    pub(crate) async fn sessions(&self) -> io::Result<Sessions> {
        Ok(Sessions::parse(&self.query(database_sessions::QUERY).await?))
    }

    /// Ends connections.
    pub(crate) async fn kill(&self, connections: impl IntoIterator<Item = u64>) {
        let sql: String = connections.into_iter().map(|id| format!("KILL HARD CONNECTION {id};\n")).collect();
        if !sql.is_empty() {
            // Some may have ended meanwhile.
            let _ = self.client.call(&["--force"], sql.as_bytes(), DATABASE_CALL_TIMEOUT).await;
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
        let tables = self.client.call(&tables, b"", LOG_CALL_TIMEOUT).await?;
        let tables = String::from_utf8_lossy(&tables);
        Ok(tables.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect())
    }

    /// Has Aria write a full checkpoint, and remove the part of its log that no transaction needs: its thread does so when it
    /// ends, and it is started anew when the interval is set.
    pub(crate) async fn checkpoint_aria(&self) -> io::Result<()> {
        let set = format!("SET GLOBAL aria_checkpoint_interval={ARIA_CHECKPOINT_SECONDS}");
        self.client.call(&["--execute", &set], b"", LOG_CALL_TIMEOUT).await.map(drop)
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
        self.client.call(&["--force"], &sql, DATABASE_CALL_TIMEOUT).await.map(drop)
    }

    /// All schemas except the server's own.
    pub(crate) async fn schemas(&self) -> io::Result<Vec<String>> {
        let all = self.run("", b"SELECT schema_name FROM information_schema.schemata").await?;
        Ok(all.lines().filter(|name| !OWN_SCHEMAS.contains(name)).map(str::to_owned).collect())
    }

    /// A schema as SQL.
    pub(crate) async fn dump(&self, name: &str) -> io::Result<Vec<u8>> {
        let args = ["--skip-dump-date", "--skip-comments", "--hex-blob", "--", name];
        self.client.call_program(&self.dump, &args, b"", DATABASE_CALL_TIMEOUT).await
    }

    /// The client that the server is administered with.
    pub(crate) fn client(&self) -> &DatabaseClient {
        &self.client
    }
}

/// The schema and user of a clone. It connects at a socket.
fn account(name: &str) -> CloneAccount<'_> {
    CloneAccount { name, host: "localhost" }
}
