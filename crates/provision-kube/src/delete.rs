//! Deletes clones.

use std::time::Duration;

use kube::api::{DeleteParams, Preconditions};
use serde_json::json;
use tokio::time::{Instant, sleep};
use wpclone_provision::{CloneName, ProvisionError};

use crate::api_error::{failed, is_conflict, is_not_found};
use crate::cluster::Cluster;
use crate::wordpress_clone::{DATABASE_FINALIZER, Instance};

/// How often the instance is read until it is gone.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl Cluster {
    /// Deletes a clone, and returns when nothing is left of it. Deleting a missing one succeeds.
    pub(crate) async fn delete(&self, name: &CloneName) -> Result<(), ProvisionError> {
        match self.find(name).await? {
            Some(instance) => self.delete_instance(&instance).await,
            None => Ok(()),
        }
    }

    /// The same for this very instance, not another one of its name.
    pub(crate) async fn delete_instance(&self, instance: &Instance) -> Result<(), ProvisionError> {
        self.request_deletion(instance).await?;
        self.finish_deletion(instance, self.options.limits.delete).await
    }

    /// Has the API server delete an instance.
    async fn request_deletion(&self, instance: &Instance) -> Result<(), ProvisionError> {
        if instance.is_deleting() {
            return Ok(());
        }
        let preconditions = Preconditions { uid: Some(instance.uid().to_owned()), resource_version: None };
        let this_one = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.instances.delete(instance.name.as_str(), &this_one).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            Err(error) => Err(failed("deleting a clone")(error)),
        }
    }

    /// Waits until kro has deleted the parts of an instance that is being deleted and no pod is left, drops its database, and
    /// waits until the instance is gone.
    pub(crate) async fn finish_deletion(
        &self,
        instance: &Instance,
        limit: Duration,
    ) -> Result<(), ProvisionError> {
        let (name, begun) = (&instance.name, Instant::now());
        loop {
            let current = self.find(name).await?.filter(|current| current.uid() == instance.uid());
            let Some(current) = current else { return Ok(()) };
            let finalizers = current.metadata.finalizers.as_deref().unwrap_or_default();
            let is_ours_last = finalizers == [DATABASE_FINALIZER];
            if current.is_deleting() && is_ours_last && !self.has_pods(name).await? {
                self.database.drop(name).await?;
                self.remove_finalizer(&current).await?;
                continue;
            }
            if begun.elapsed() >= limit {
                return Err(self.deletion_failure(&current).await);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// kro does not wait for pods.
    async fn has_pods(&self, name: &CloneName) -> Result<bool, ProvisionError> {
        let pods = self.pods.list_metadata(&Self::parts_of(name)).await;
        Ok(!pods.map_err(failed("listing a clone's pods"))?.items.is_empty())
    }

    async fn remove_finalizer(&self, instance: &Instance) -> Result<(), ProvisionError> {
        let removed = self.change(&instance.name, |current| {
            let others =
                current.metadata.finalizers.iter().flatten().filter(|name| *name != DATABASE_FINALIZER);
            let others: Vec<&String> = others.collect();
            Ok((current.uid() == instance.uid()).then(|| json!({ "metadata": { "finalizers": others } })))
        });
        match removed.await {
            Ok(_) | Err(ProvisionError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Why an instance is still there. kro deletes nothing while its definition is broken.
    async fn deletion_failure(&self, instance: &Instance) -> ProvisionError {
        if let Err(error) = self.definition.check().await {
            return error;
        }
        let ready = instance.status.condition("Ready").map(|ready| ready.message.clone()).unwrap_or_default();
        ProvisionError::Timeout(format!("deleting the clone in the cluster ({ready})"))
    }
}
