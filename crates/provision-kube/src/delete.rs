//! Deletes clones.

use std::time::Duration;

use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::time::{Instant, sleep};
use wpclone_provision::{CloneName, ProvisionError};

use crate::api_error::{failed, is_conflict, is_not_found};
use crate::clone_database::SchemaPrefix;
use crate::cluster::{CHANGE_ATTEMPTS, Cluster, read};
use crate::wordpress_clone::{DATABASE_FINALIZER, Instance, InstanceId};

/// How often the instance is read until it is gone.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl Cluster {
    /// Deletes a clone, and returns when nothing is left of it. Deleting a missing one succeeds.
    pub(crate) async fn delete(&self, name: &CloneName) -> Result<(), ProvisionError> {
        let Some(object) = self.find_object(name).await? else { return Ok(()) };
        let id = InstanceId::read(&object.metadata);
        // One that cannot be read is not deleted. One that is being deleted is nobody's any more.
        if object.metadata.deletion_timestamp.is_none() {
            read(object).transpose()?;
        }
        match id {
            Some(id) => self.delete_instance(&id).await,
            None => Ok(()),
        }
    }

    /// The same for this very instance, not another one of its name.
    pub(crate) async fn delete_instance(&self, id: &InstanceId) -> Result<(), ProvisionError> {
        self.request_deletion(id, None).await?;
        self.finish_deletion(id, self.options.limits.delete).await
    }

    /// The same as long as `may_go` says so of the instance as it is when it is deleted. Returns whether it was deleted.
    pub(crate) async fn delete_if(
        &self,
        instance: &Instance,
        may_go: impl Fn(&Instance) -> bool,
    ) -> Result<bool, ProvisionError> {
        let (id, mut current) = (instance.id(), instance.clone());
        for _ in 0..CHANGE_ATTEMPTS {
            if !may_go(&current) {
                return Ok(false);
            }
            if self.request_deletion(&id, current.metadata.resource_version.clone()).await? {
                self.finish_deletion(&id, self.options.limits.delete).await?;
                return Ok(true);
            }
            match self.find(&id.name).await?.filter(|found| found.uid() == id.uid) {
                Some(found) => current = found,
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Has the API server delete an instance, as it was at that version if one is given. Returns whether it is so, and not
    /// changed or gone.
    async fn request_deletion(
        &self,
        id: &InstanceId,
        resource_version: Option<String>,
    ) -> Result<bool, ProvisionError> {
        let preconditions = Preconditions { uid: Some(id.uid.clone()), resource_version };
        let this_one = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.instances.delete(id.name.as_str(), &this_one).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(false),
            Err(error) => Err(failed("deleting a clone")(error)),
        }
    }

    /// Waits until kro has deleted the parts of an instance that is being deleted and no pod is left, drops its schemas, and
    /// waits until the instance is gone. The instance may be one that cannot be read.
    pub(crate) async fn finish_deletion(
        &self,
        id: &InstanceId,
        limit: Duration,
    ) -> Result<(), ProvisionError> {
        let (name, begun) = (&id.name, Instant::now());
        loop {
            let current = self.find_metadata(name).await?;
            let current = current.filter(|current| current.uid.as_ref() == Some(&id.uid));
            let Some(current) = current else { return Ok(()) };
            let finalizers = current.finalizers.as_deref().unwrap_or_default();
            let is_ours_last = finalizers == [DATABASE_FINALIZER];
            if current.deletion_timestamp.is_some() && is_ours_last && !self.has_pods(name).await? {
                self.database.drop_all(&SchemaPrefix::of(id)).await?;
                // That of an instance that an older version has made; those of this version have other names.
                self.database.drop(name.as_str()).await?;
                if self.remove_finalizer(name, &current).await? {
                    return Ok(());
                }
            }
            if begun.elapsed() >= limit {
                return Err(self.deletion_failure(name).await);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn find_metadata(&self, name: &CloneName) -> Result<Option<ObjectMeta>, ProvisionError> {
        match self.instances.get_metadata(name.as_str()).await {
            Ok(found) => Ok(Some(found.metadata)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(failed("reading a clone")(error)),
        }
    }

    /// kro does not wait for pods.
    async fn has_pods(&self, name: &CloneName) -> Result<bool, ProvisionError> {
        let pods = self.pods.list_metadata(&Self::parts_of(name)).await;
        Ok(!pods.map_err(failed("listing a clone's pods"))?.items.is_empty())
    }

    /// Removes our finalizer, the last one, after which the instance is gone. Returns whether it is so, and nobody has changed
    /// the instance meanwhile.
    async fn remove_finalizer(&self, name: &CloneName, seen: &ObjectMeta) -> Result<bool, ProvisionError> {
        let patch = json!({ "metadata": { "finalizers": [], "resourceVersion": seen.resource_version } });
        match self.instances.patch(name.as_str(), &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(failed("changing a clone")(error)),
        }
    }

    /// Why an instance is still there. kro deletes nothing while its definition is broken.
    async fn deletion_failure(&self, name: &CloneName) -> ProvisionError {
        if let Err(error) = self.definition.check().await {
            return error;
        }
        let ready = match self.find(name).await {
            Ok(Some(instance)) => instance.status.condition("Ready").map(|ready| ready.message.clone()),
            Ok(None) | Err(_) => None,
        };
        ProvisionError::Timeout(format!("deleting the clone in the cluster ({})", ready.unwrap_or_default()))
    }
}
