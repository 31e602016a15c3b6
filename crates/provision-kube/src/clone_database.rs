//! The schemas and users of clones on the shared database server.

use std::io;
use std::time::Duration;

use secrecy::SecretString;
use wpclone_provision::{
    CloneAccount, CloneName, DatabaseClient, DatabaseServerAddress, ProvisionError, UserLimits,
};

use crate::options::DatabaseOptions;

/// The limits of a clone's user: PHP's workers, and the time of an import's longest ALTER TABLE.
const USER_LIMITS: UserLimits = UserLimits { connections: 24, statement: Duration::from_secs(600) };
/// How often dropping a schema is tried: connections that are ended may hold its tables for a moment.
const DROP_ATTEMPTS: u32 = 4;

/// The administration of the shared database server.
pub(crate) struct CloneDatabase {
    client: DatabaseClient,
}

impl CloneDatabase {
    pub(crate) fn new(options: &DatabaseOptions) -> Self {
        let server = DatabaseServerAddress::Tcp {
            host: options.host.clone(),
            port: options.port,
            ca_file: options.ca_file.clone(),
        };
        let client =
            DatabaseClient::new(options.client.clone(), server, &options.user, options.password.clone());
        Self { client }
    }

    pub(crate) fn client(&self) -> &DatabaseClient {
        &self.client
    }

    /// Checks that the server answers.
    pub(crate) async fn check(&self) -> Result<(), ProvisionError> {
        self.run("SELECT 1").await.map_err(refused)
    }

    /// Makes sure that a clone's schema and its user exist, and that the user has this password. What is in the schema
    /// stays.
    pub(crate) async fn ensure(
        &self,
        name: &CloneName,
        password: &SecretString,
    ) -> Result<(), ProvisionError> {
        self.run(&account(name).ensure_sql(password, USER_LIMITS)).await.map_err(refused)
    }

    /// Drops a clone's schema and creates it anew.
    pub(crate) async fn recreate(
        &self,
        name: &CloneName,
        password: &SecretString,
    ) -> Result<(), ProvisionError> {
        self.drop(name).await?;
        self.ensure(name, password).await
    }

    /// Drops a clone's schema and user. Dropping missing ones succeeds.
    pub(crate) async fn drop(&self, name: &CloneName) -> Result<(), ProvisionError> {
        let account = account(name);
        let mut dropped = Ok(());
        for _ in 0..DROP_ATTEMPTS {
            // A statement without end would lock the tables.
            self.run(&account.lock_sql()).await.map_err(refused)?;
            dropped = self.run(&account.drop_sql()).await;
            if dropped.is_ok() {
                break;
            }
        }
        dropped.map_err(refused)
    }

    async fn run(&self, sql: &str) -> io::Result<()> {
        self.client.run("", sql.as_bytes()).await.map(drop)
    }
}

/// The clone connects from its pod, whose address changes.
fn account(name: &CloneName) -> CloneAccount<'_> {
    CloneAccount { name: name.as_str(), host: "%" }
}

fn refused(error: io::Error) -> ProvisionError {
    ProvisionError::DatabaseRefused(error.to_string())
}
