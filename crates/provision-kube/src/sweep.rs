//! Deletes clones whose time is over, and goes on with deletions that were not finished.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;
use serde_json::json;
use wpclone_provision::{CloneName, HasUnfinishedTask, Phase, ProvisionError, SourceFacts, SweepReport};

use crate::cluster::Cluster;
use crate::wordpress_clone::{Instance, InstanceId};

/// How many clones are deleted at once.
const CONCURRENT_DELETIONS: usize = 8;
/// How long one deletion holds up a sweep; the next one goes on with it.
const DELETION_WAIT: Duration = Duration::from_secs(20);
/// By how much the deadline of a clone is postponed whose task is unfinished.
const POSTPONEMENT: SignedDuration = SignedDuration::from_mins(30);

impl Cluster {
    /// See [`wpclone_provision::Provisioner::sweep`]. Several workers may sweep at once.
    pub(crate) async fn sweep(
        &self,
        has_unfinished_task: HasUnfinishedTask<'_>,
    ) -> Result<SweepReport, ProvisionError> {
        let listing = self.list().await?;
        let mut over = Vec::new();
        for instance in listing.instances {
            if instance.is_deleting() || !self.is_over(&instance) {
                continue;
            }
            if has_unfinished_task(&self.info(&instance, SourceFacts::default(), &[])) {
                self.postpone_deadline(&instance).await;
            } else {
                over.push(instance);
            }
        }
        // Somebody else may have extended or published one since it was listed.
        let delete = |instance: Instance| async move {
            let deletion = self.delete_if(&instance, |current| self.is_over(current));
            let is_deleted = within_wait(&instance.name, deletion).await.unwrap_or(false);
            (instance, is_deleted)
        };
        // Also instances that somebody else deletes, and such of another version: their schemas are ours to drop.
        let finish = |id: InstanceId| async move {
            let finished = self.finish_deletion(&id, self.options.limits.delete);
            within_wait(&id.name, finished).await;
        };
        let mut swept = SweepReport::default();
        let finishing = stream::iter(listing.deleting).map(finish).buffer_unordered(CONCURRENT_DELETIONS);
        let finishing = finishing.for_each(std::future::ready);
        let deleting = stream::iter(over).map(delete).buffer_unordered(CONCURRENT_DELETIONS);
        let deleting = deleting.for_each(|(instance, is_deleted)| {
            let list = match instance.expires_at() {
                Some(_) => &mut swept.expired,
                None => &mut swept.abandoned,
            };
            list.extend(is_deleted.then_some(instance.name));
            std::future::ready(())
        });
        tokio::join!(finishing, deleting);
        Ok(swept)
    }

    /// Whether the time of a clone is over that is not being deleted.
    fn is_over(&self, instance: &Instance) -> bool {
        let now = self.now();
        match instance.phase() {
            Phase::Published => instance.expires_at().is_some_and(|at| at <= now),
            Phase::Ready | Phase::Creating => instance.spec.creation_deadline <= now,
            Phase::Deleting | Phase::Unreadable => false,
        }
    }

    async fn postpone_deadline(&self, instance: &Instance) {
        let deadline = (self.now() + POSTPONEMENT).to_string();
        let postponed = self.change(instance, |current| {
            let is_before_publication = current.phase().is_before_publication();
            Ok(is_before_publication.then(|| json!({ "spec": { "creationDeadline": deadline } })))
        });
        if let Err(error) = postponed.await {
            tracing::warn!(clone = %instance.name, %error, "a clone's deadline cannot be postponed");
        }
    }
}

/// What a deletion ends with, if it does so soon enough and well.
async fn within_wait<T>(
    name: &CloneName,
    deletion: impl Future<Output = Result<T, ProvisionError>>,
) -> Option<T> {
    match tokio::time::timeout(DELETION_WAIT, deletion).await.ok()? {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::warn!(clone = %name, %error, "a clone cannot be deleted");
            None
        }
    }
}
