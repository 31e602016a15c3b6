//! The schemas and users of clones on the shared database server. Their names begin with that of one instance and its uid, so
//! that a late call for an instance that is gone never meets those of the next one of its name.

use std::io;
use std::time::Duration;

use secrecy::SecretString;
use wpclone_provision::{CloneAccount, DatabaseClient, DatabaseServerAddress, ProvisionError, UserLimits};

use crate::options::DatabaseOptions;
use crate::random::random;
use crate::wordpress_clone::InstanceId;

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

    /// Makes sure that a schema and its user exist, and that the user has this password. What is in the schema stays.
    pub(crate) async fn ensure(&self, schema: &str, password: &SecretString) -> Result<(), ProvisionError> {
        self.run(&account(schema).ensure_sql(password, USER_LIMITS)).await.map_err(refused)
    }

    /// Drops all schemas of an instance, and their users. Dropping missing ones succeeds.
    pub(crate) async fn drop_all(&self, of: &SchemaPrefix) -> Result<(), ProvisionError> {
        let SchemaPrefix(prefix) = of;
        let sql = format!(
            "SELECT schema_name FROM information_schema.schemata \
             WHERE schema_name = '{prefix}' OR schema_name LIKE '{prefix}-%'"
        );
        let schemas = self.client.run("", sql.as_bytes()).await.map_err(refused)?;
        for schema in schemas.lines() {
            self.drop(schema).await?;
        }
        Ok(())
    }

    /// Drops a schema and its user. Dropping missing ones succeeds.
    pub(crate) async fn drop(&self, schema: &str) -> Result<(), ProvisionError> {
        let account = account(schema);
        let mut dropped = Ok(());
        for _ in 0..DROP_ATTEMPTS {
            // A statement without end would lock the tables.
            self.run(&account.lock_sql()).await.map_err(refused)?;
            dropped = self.run(&account.drop_sql()).await;
            if dropped.is_ok() {
                break;
            }
            // And so would a prepared transaction; nothing tells whose one is. What is wrong the next attempt says.
            let _ = self.client.roll_back_prepared().await;
        }
        dropped.map_err(refused)
    }

    async fn run(&self, sql: &str) -> io::Result<()> {
        self.client.run("", sql.as_bytes()).await.map(drop)
    }
}

/// What the names of an instance's schemas begin with: letters, digits and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaPrefix(String);

impl SchemaPrefix {
    pub(crate) fn of(id: &InstanceId) -> Self {
        // Enough to tell the instances of one name apart; the name of a schema has at most 64 characters.
        let uid = id.uid.split('-').next().unwrap_or_default();
        Self(format!("{}-{uid}", id.name))
    }

    /// The name of the instance's first schema.
    pub(crate) fn first(&self) -> String {
        self.0.clone()
    }

    /// The name of another one.
    pub(crate) fn another(&self) -> Result<String, ProvisionError> {
        Ok(format!("{}-{}", self.0, random::<4>()?))
    }
}

/// The clone connects from its pod, whose address changes.
fn account(schema: &str) -> CloneAccount<'_> {
    CloneAccount { name: schema, host: "%" }
}

fn refused(error: io::Error) -> ProvisionError {
    ProvisionError::DatabaseRefused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_of_two_instances_of_one_name_differ_and_fit_into_mariadbs_names() {
        let of = |uid: &str| {
            let name = "clone-20261130-163105-abcdef".parse().unwrap();
            SchemaPrefix::of(&InstanceId { name, uid: uid.to_owned() })
        };
        let (one, next) =
            (of("0f3c2a10-1c1d-4c5e-9a77-000000000001"), of("9b3c2a10-1c1d-4c5e-9a77-000000000001"));
        assert_eq!(one.first(), "clone-20261130-163105-abcdef-0f3c2a10");
        let another = one.another().unwrap();
        assert!(another.starts_with(&format!("{}-", one.first())) && another.len() <= 64, "{another}");
        assert!(!next.another().unwrap().starts_with(&one.first()));
    }
}
