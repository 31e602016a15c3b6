//! A database as the WordPress that uses it sees it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::run;
use crate::mariadb::client;
use crate::util::at;
use crate::{LabError, Result};

/// A schema with its socket and login.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) socket: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) schema: String,
}

impl Database {
    /// The database of a WordPress, read from its wp-config.php.
    ///
    /// # Errors
    /// The file cannot be read, or does not name a socket.
    pub fn of(wp_config: &Path) -> Result<Self> {
        let text = fs::read_to_string(wp_config).map_err(at(wp_config))?;
        let constant = |name: &str| {
            let line = text.lines().find(|line| line.contains(&format!("'{name}'")))?;
            line.split('\'').nth(3).map(str::to_owned)
        };
        let found = || {
            let host = constant("DB_HOST")?;
            let socket = PathBuf::from(host.strip_prefix("localhost:")?);
            let (user, password) = (constant("DB_USER")?, constant("DB_PASSWORD")?);
            Some(Self { socket, user, password, schema: constant("DB_NAME")? })
        };
        let what = format!("the database in {}", wp_config.display());
        found().ok_or(LabError::Missing { what, help: "it has to be on a socket" })
    }

    /// What the schema is called.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Runs SQL; rows come back as lines, columns apart by tabs.
    ///
    /// # Errors
    /// The database refuses it.
    pub async fn sql(&self, sql: &str) -> Result<String> {
        let mut client = client(&self.socket)?;
        client.args(["--quick", "--max-allowed-packet=256M", "--user", &self.user]);
        client.arg(&self.schema).env("MYSQL_PWD", &self.password);
        run(client, sql.as_bytes()).await
    }
}
