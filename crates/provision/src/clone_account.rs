//! The SQL of a clone's schema and database user.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

/// How long dropping a schema waits for its tables, in seconds.
pub const DROP_WAIT_SECONDS: u32 = 10;
/// The privileges that clones have on their schema. Routines and events are left out: they are stored in tables of the
/// server, where one clone could fill the disk unnoticed.
const PRIVILEGES: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, \
                          CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW, TRIGGER";

/// The limits of a clone's user that MariaDB enforces.
#[derive(Debug, Clone, Copy)]
pub struct UserLimits {
    /// The most connections.
    pub connections: usize,
    /// How long a statement may run, unless the session changes that.
    pub statement: Duration,
}

/// The schema of a clone and its user, both with this name. The user sees nothing else.
#[derive(Debug, Clone, Copy)]
pub struct CloneAccount<'a> {
    /// Letters, digits, `-` and `_`.
    pub name: &'a str,
    /// Where the user connects from: `localhost`, or `%` for anywhere.
    pub host: &'a str,
}

impl CloneAccount<'_> {
    /// Makes sure that both exist, and that the user has this password and no more privileges. Existing tables stay.
    #[must_use]
    pub fn ensure_sql(&self, password: &SecretString, limits: UserLimits) -> String {
        let Self { name, host } = self;
        // Everybody may set the own password, and no privilege denies it. It is the first of two that is set, so that the
        // second one always remains; nothing has the hash of the first.
        format!(
            "CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4; \
             CREATE USER IF NOT EXISTS '{name}'@'{host}' ACCOUNT LOCK; \
             ALTER USER '{name}'@'{host}' IDENTIFIED VIA mysql_native_password USING 'invalid' \
             OR mysql_native_password USING PASSWORD('{}') \
             WITH MAX_USER_CONNECTIONS {} MAX_STATEMENT_TIME {} ACCOUNT UNLOCK; \
             GRANT {PRIVILEGES} ON `{}`.* TO '{name}'@'{host}';",
            password.expose_secret(),
            limits.connections,
            limits.statement.as_secs(),
            // In a grant these two are wildcards.
            name.replace('_', "\\_").replace('%', "\\%"),
        )
    }

    /// Ends all connections of the user and refuses new ones. Of a missing user this succeeds.
    #[must_use]
    pub fn lock_sql(&self) -> String {
        let Self { name, host } = self;
        format!(
            "ALTER USER IF EXISTS '{name}'@'{host}' ACCOUNT LOCK; KILL HARD CONNECTION USER '{name}'@'{host}';"
        )
    }

    /// Drops both, the user first: who looks for what is left looks for schemas. Dropping missing ones succeeds.
    #[must_use]
    pub fn drop_sql(&self) -> String {
        let Self { name, host } = self;
        format!(
            "SET lock_wait_timeout={DROP_WAIT_SECONDS}; DROP USER IF EXISTS '{name}'@'{host}'; \
             DROP DATABASE IF EXISTS `{name}`;"
        )
    }
}
