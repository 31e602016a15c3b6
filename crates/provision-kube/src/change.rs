//! Changes clones: to match their sources, to be accessible again, to expire at another time.

use jiff::Timestamp;
use serde_json::json;
use wpclone_provision::{Access, CloneInfo, CloneName, Phase, ProvisionError, SourceFacts, table_prefix};

use crate::clone_database::SchemaPrefix;
use crate::clone_secret::{self, CloneKeys};
use crate::cluster::Cluster;
use crate::wordpress_clone::Instance;

impl Cluster {
    /// Gives a clone that has no content yet its source's table prefix, PHP and limits.
    pub(crate) async fn match_source(
        &self,
        name: &CloneName,
        facts: &SourceFacts,
    ) -> Result<CloneInfo, ProvisionError> {
        let prefix = table_prefix(facts)?;
        let instance = usable(self.require(name).await?)?;
        let (secret, keys) = self.require_secret(&instance).await?;
        let new_database = prefix != instance.spec.table_prefix;
        if clone_secret::facts(&secret).as_ref() == Some(facts) && !new_database {
            // Another call may have changed it and ended before it was ready.
            let instance = self.await_ready(&instance).await?;
            return self.info_of(&instance).await;
        }
        if instance.phase() == Phase::Published {
            return Err(ProvisionError::AlreadyPublished(name.clone()));
        }
        let image = self.options.images.nearest(facts.php.as_deref());
        let mut wanted = instance.clone();
        wanted.spec.table_prefix = prefix;
        wanted.spec.php = image.php();
        wanted.spec.image.clone_from(&image.image);
        wanted.spec.secret_name = clone_secret::new_name(name)?;
        let matched = if new_database {
            self.switch_schema(&instance, &wanted, keys, facts).await?
        } else {
            self.create_secret(&wanted, &keys, facts).await?;
            self.restart(&instance, &wanted).await?
        };
        self.info_of(&matched).await
    }

    /// Gives an instance an empty schema with its new spec. The old schema stays as it is until the instance has the new one:
    /// another call may have been first.
    async fn switch_schema(
        &self,
        old: &Instance,
        wanted: &Instance,
        keys: CloneKeys,
        facts: &SourceFacts,
    ) -> Result<Instance, ProvisionError> {
        let old_schema = keys.database.clone();
        let keys = CloneKeys { database: SchemaPrefix::of(&old.id()).another()?, ..keys };
        self.database.ensure(&keys.database, &keys.database_password).await?;
        let switched = async {
            self.create_secret(wanted, &keys, facts).await?;
            self.restart(old, wanted).await
        };
        let (switched, unused) = match switched.await {
            Ok(instance) => (Ok(instance), old_schema),
            // This call was too late.
            Err(error @ (ProvisionError::Gone(_) | ProvisionError::Superseded(_))) => {
                (Err(error), keys.database)
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = self.database.drop(&unused).await {
            tracing::debug!(clone = %old.name, %error, "an unused schema of a clone stays until the clone goes");
        }
        switched
    }

    /// Has the clone's container `setup` make sure of the administrator and open the migrator.
    pub(crate) async fn ensure_access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        let instance = usable(self.require(name).await?)?;
        let (secret, keys) = self.require_secret(&instance).await?;
        let mut wanted = instance.clone();
        wanted.spec.secret_name = clone_secret::new_name(name)?;
        self.renew_secret(&wanted, &secret, &keys).await?;
        let instance = self.restart(&instance, &wanted).await?;
        Ok(keys.into_access(&instance))
    }

    /// Gives an instance the pod of another spec, and waits until it is ready. The pod starts anew, because it gets another
    /// Secret. Of two calls at once one fails.
    async fn restart(&self, old: &Instance, wanted: &Instance) -> Result<Instance, ProvisionError> {
        let (old_secret, spec) = (&old.spec.secret_name, &wanted.spec);
        let patch = json!({ "spec": {
            "secretName": spec.secret_name,
            "tablePrefix": spec.table_prefix,
            "php": spec.php,
            "image": spec.image,
        } });
        self.change(old, |instance| {
            if instance.is_deleting() {
                return Err(ProvisionError::Gone(instance.name.clone()));
            }
            if instance.spec.secret_name != *old_secret {
                return Err(ProvisionError::Superseded(instance.name.clone()));
            }
            Ok(Some(patch.clone()))
        })
        .await?;
        let instance = self.await_ready(wanted).await?;
        self.delete_old_secret(&instance, old_secret).await;
        Ok(instance)
    }

    /// Sets when a clone expires, once.
    pub(crate) async fn publish(
        &self,
        name: &CloneName,
        expires_at: Timestamp,
    ) -> Result<CloneInfo, ProvisionError> {
        let instance = self.require(name).await?;
        let instance = self.change(&instance, |instance| match instance.phase() {
            Phase::Published => Ok(None),
            Phase::Ready => Ok(Some(expires(expires_at))),
            Phase::Creating | Phase::Unreadable => Err(ProvisionError::NotReady(name.clone())),
            Phase::Deleting => Err(ProvisionError::Gone(name.clone())),
        });
        self.info_of(&instance.await?).await
    }

    /// Changes when a published clone expires.
    pub(crate) async fn extend(
        &self,
        name: &CloneName,
        expires_at: Timestamp,
    ) -> Result<CloneInfo, ProvisionError> {
        let instance = self.require(name).await?;
        let instance = self.change(&instance, |instance| match instance.phase() {
            Phase::Published => Ok(Some(expires(expires_at))),
            Phase::Ready | Phase::Creating | Phase::Unreadable => {
                Err(ProvisionError::NotPublished(name.clone()))
            }
            Phase::Deleting => Err(ProvisionError::Gone(name.clone())),
        });
        self.info_of(&instance.await?).await
    }

    /// How to log in to a clone.
    pub(crate) async fn access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        let instance = usable(self.require(name).await?)?;
        let (_, keys) = self.require_secret(&instance).await?;
        Ok(keys.into_access(&instance))
    }
}

fn expires(at: Timestamp) -> serde_json::Value {
    json!({ "spec": { "expiresAt": at.to_string() } })
}

/// The instance, if its clone is complete.
fn usable(instance: Instance) -> Result<Instance, ProvisionError> {
    match instance.phase() {
        Phase::Ready | Phase::Published => Ok(instance),
        Phase::Deleting => Err(ProvisionError::Gone(instance.name)),
        Phase::Creating | Phase::Unreadable => Err(ProvisionError::NotReady(instance.name)),
    }
}
