//! The Secrets of clones. Each is immutable: a change is a new one, so that a pod never starts with an old one. The instance
//! names the one that counts.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::SignedDuration;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use secrecy::{ExposeSecret as _, SecretString};
use wpclone_provision::clone_image::{CLONE_RUNTIME, LOGIN, TREE};
use wpclone_provision::{
    Access, CloneName, EffectivePhpLimits, ProvisionError, SourceConfig, SourceFacts, WpConfig, wp_config,
};

use crate::api_error::{already_exists, failed, is_not_found};
use crate::cluster::Cluster;
use crate::random::random;
use crate::setup_input::setup_json;
use crate::wordpress_clone::{CLONE_LABEL, Instance};

/// How long the migrator accepts imports, at least.
const MIGRATOR_OPEN: SignedDuration = SignedDuration::from_hours(1);

// The keys in a Secret. Those with a dot are mounted as files of this name.
const PASSWORD: &str = "password";
const MIGRATOR_KEY: &str = "migrator-key";
const LOGIN_KEY: &str = "login-key";
const DATABASE_PASSWORD: &str = "database-password";
const DATABASE: &str = "database";
const FACTS: &str = "facts.json";
const WP_CONFIG: &str = "wp-config.php";
const PHP_INI: &str = "php.ini";
const SETUP: &str = "setup.json";

/// The passwords and keys of a clone, which stay the same, and its schema, which may become another one.
pub(crate) struct CloneKeys {
    pub(crate) password: SecretString,
    pub(crate) migrator_key: SecretString,
    pub(crate) login_key: SecretString,
    pub(crate) database_password: SecretString,
    pub(crate) database: String,
}

impl CloneKeys {
    /// New random ones for a clone with this schema.
    pub(crate) fn generate(database: String) -> Result<Self, ProvisionError> {
        Ok(Self {
            password: random::<16>()?.into(),
            migrator_key: random::<32>()?.into(),
            login_key: random::<32>()?.into(),
            database_password: random::<16>()?.into(),
            database,
        })
    }

    /// Those of a clone's Secret; `None` when one is missing.
    pub(crate) fn read(secret: &Secret, clone: &CloneName) -> Option<Self> {
        let text = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            Some(SecretString::from(std::str::from_utf8(bytes).ok()?.to_owned()))
        };
        Some(Self {
            password: text(PASSWORD)?,
            migrator_key: text(MIGRATOR_KEY)?,
            login_key: text(LOGIN_KEY)?,
            database_password: text(DATABASE_PASSWORD)?,
            // Clones of older versions have a schema of their own name, which their Secrets do not repeat.
            database: match secret.data.as_ref()?.get(DATABASE) {
                Some(_) => text(DATABASE)?.expose_secret().to_owned(),
                None => clone.to_string(),
            },
        })
    }

    pub(crate) fn into_access(self, instance: &Instance) -> Access {
        Access {
            url: instance.spec.url.clone(),
            username: instance.spec.username.clone(),
            password: self.password,
            migrator_key: self.migrator_key,
            login_key: self.login_key,
        }
    }
}

/// What the clone took over from its source.
pub(crate) fn facts(secret: &Secret) -> Option<SourceFacts> {
    serde_json::from_slice(&secret.data.as_ref()?.get(FACTS)?.0).ok()
}

/// A new name for a Secret of a clone.
pub(crate) fn new_name(clone: &CloneName) -> Result<String, ProvisionError> {
    Ok(format!("{clone}-{}", random::<4>()?))
}

impl Cluster {
    /// The Secret that an instance names, if it exists.
    pub(crate) async fn find_secret(&self, instance: &Instance) -> Result<Option<Secret>, ProvisionError> {
        match self.secrets.get(&instance.spec.secret_name).await {
            Ok(secret) => Ok(Some(secret)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(failed("reading a clone's Secret")(error)),
        }
    }

    /// The Secret that an instance names, and its keys.
    ///
    /// # Errors
    /// It is missing or incomplete.
    pub(crate) async fn require_secret(
        &self,
        instance: &Instance,
    ) -> Result<(Secret, CloneKeys), ProvisionError> {
        let secret = self.find_secret(instance).await?;
        let with_keys =
            secret.and_then(|secret| CloneKeys::read(&secret, &instance.name).map(|keys| (secret, keys)));
        with_keys.ok_or_else(|| ProvisionError::Unreadable {
            name: instance.name.clone(),
            reason: format!("its Secret {} is missing or incomplete", instance.spec.secret_name),
        })
    }

    /// Creates a Secret with the configuration of a clone whose spec is to be this instance's.
    pub(crate) async fn create_secret(
        &self,
        instance: &Instance,
        keys: &CloneKeys,
        facts: &SourceFacts,
    ) -> Result<Secret, ProvisionError> {
        let (spec, database) = (&instance.spec, &self.options.database);
        let source = SourceConfig::new(facts, self.database.client()).await;
        let source = source.map_err(|error| ProvisionError::DatabaseRefused(error.to_string()))?;
        let config = wp_config(&WpConfig {
            url: &spec.url,
            table_prefix: &spec.table_prefix,
            source: &source,
            username: &spec.username,
            database: &keys.database,
            database_host: &database.host_and_port(),
            database_password: &keys.database_password,
            login_key: &keys.login_key,
            tree: Path::new(TREE),
            login: Path::new(LOGIN),
            clone_runtime: Path::new(CLONE_RUNTIME),
        });
        let config =
            config.map_err(|error| ProvisionError::internal("wp-config.php cannot be made", error))?;
        let facts_json = serde_json::to_vec(facts)
            .map_err(|error| ProvisionError::internal("the source's facts cannot be stored", error))?;
        let text = |secret: &SecretString| secret.expose_secret().as_bytes().to_vec();
        let data = BTreeMap::from([
            (PASSWORD, text(&keys.password)),
            (MIGRATOR_KEY, text(&keys.migrator_key)),
            (LOGIN_KEY, text(&keys.login_key)),
            (DATABASE_PASSWORD, text(&keys.database_password)),
            (DATABASE, keys.database.clone().into_bytes()),
            (FACTS, facts_json),
            (WP_CONFIG, config.into_bytes()),
            (PHP_INI, php_ini(facts).into_bytes()),
            (SETUP, self.setup(instance, keys)?),
        ]);
        self.store_secret(instance, data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            .await
    }

    /// Creates a Secret like this one that has the container `setup` make sure of the access to the clone again.
    pub(crate) async fn renew_secret(
        &self,
        instance: &Instance,
        secret: &Secret,
        keys: &CloneKeys,
    ) -> Result<Secret, ProvisionError> {
        let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
        let setup = (SETUP.to_owned(), self.setup(instance, keys)?);
        self.store_secret(instance, data.chain([setup]).collect()).await
    }

    fn setup(&self, instance: &Instance, keys: &CloneKeys) -> Result<Vec<u8>, ProvisionError> {
        // A task may wait for its other steps before the first request, which extends the time.
        let open_until = (self.now() + MIGRATOR_OPEN).max(instance.spec.creation_deadline);
        let spec = &instance.spec;
        // Each Secret is another setup.
        let setup =
            setup_json(&spec.secret_name, &spec.username, &keys.password, &keys.migrator_key, open_until);
        setup.map_err(|error| {
            ProvisionError::internal("the input of the container setup cannot be made", error)
        })
    }

    async fn store_secret(
        &self,
        instance: &Instance,
        data: BTreeMap<String, Vec<u8>>,
    ) -> Result<Secret, ProvisionError> {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(instance.spec.secret_name.clone()),
                labels: Some(BTreeMap::from([(CLONE_LABEL.to_owned(), instance.name.as_str().to_owned())])),
                owner_references: Some(vec![instance.owner_reference(&self.resource)]),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            data: Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect()),
            ..Secret::default()
        };
        match self.secrets.create(&PostParams::default(), &secret).await {
            Ok(secret) => Ok(secret),
            // Another call for the same instance was first: its keys count.
            Err(error) if already_exists(&error) => {
                let name = &instance.spec.secret_name;
                self.secrets.get(name).await.map_err(failed("reading a clone's Secret"))
            }
            Err(error) => Err(failed("creating a clone's Secret")(error)),
        }
    }

    /// Deletes the Secret that an instance named before. Others may be of calls that have not finished; what is left goes
    /// with the instance.
    pub(crate) async fn delete_old_secret(&self, instance: &Instance, name: &str) {
        if let Err(error) = self.secrets.delete(name, &DeleteParams::default()).await {
            tracing::debug!(clone = %instance.name, %error, "an old Secret of a clone stays until the clone goes");
        }
    }
}

/// The limits of the source's PHP.
fn php_ini(facts: &SourceFacts) -> String {
    let EffectivePhpLimits { memory, seconds, vars } = EffectivePhpLimits::from_source(facts.limits);
    format!("memory_limit = {memory}\nmax_execution_time = {seconds}\nmax_input_vars = {vars}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_an_older_version_has_the_schema_of_the_clones_name() {
        let name: CloneName = "clone-20261130-163105-abcdef".parse().unwrap();
        let secret = |keys: &[&str]| Secret {
            data: Some(keys.iter().map(|key| ((*key).to_owned(), ByteString(b"x".to_vec()))).collect()),
            ..Secret::default()
        };
        let database = |secret: &Secret| CloneKeys::read(secret, &name).map(|keys| keys.database);
        let mut keys = vec![PASSWORD, MIGRATOR_KEY, LOGIN_KEY, DATABASE_PASSWORD];
        assert_eq!(database(&secret(&keys)).as_deref(), Some(name.as_str()));
        keys.push(DATABASE);
        assert_eq!(database(&secret(&keys)).as_deref(), Some("x"));
        assert_eq!(database(&secret(&keys[1..])), None);
    }
}
