//! Deletes clones whose time is over, and goes on with deletions that were not finished.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;
use serde_json::json;
use wpclone_provision::{HasUnfinishedTask, Phase, ProvisionError, SourceFacts, SweepReport};

use crate::cluster::Cluster;
use crate::wordpress_clone::Instance;

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
        let now = self.now();
        let mut over = Vec::new();
        for instance in self.list().await?.0 {
            let is_over = match instance.phase() {
                Phase::Published => instance.expires_at().is_some_and(|at| at <= now),
                Phase::Ready | Phase::Creating => instance.spec.creation_deadline <= now,
                // Also of an instance that somebody else deletes: its database is ours to drop.
                Phase::Deleting => true,
                Phase::Unreadable => false,
            };
            let is_deleting = instance.is_deleting();
            if is_over
                && !is_deleting
                && has_unfinished_task(&self.info(&instance, SourceFacts::default(), &[]))
            {
                self.postpone_deadline(&instance).await;
            } else if is_over {
                over.push(instance);
            }
        }
        let delete = |instance: Instance| async move {
            let deleted = tokio::time::timeout(DELETION_WAIT, self.delete(&instance.name)).await;
            let is_deleted = match deleted {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(clone = %instance.name, %error, "a clone cannot be deleted");
                    false
                }
                Err(_) => false,
            };
            (instance, is_deleted)
        };
        let mut swept = SweepReport::default();
        let mut deletions =
            std::pin::pin!(stream::iter(over).map(delete).buffer_unordered(CONCURRENT_DELETIONS));
        while let Some((instance, is_deleted)) = deletions.next().await {
            let list = match instance.expires_at() {
                Some(_) => &mut swept.expired,
                None => &mut swept.abandoned,
            };
            list.extend(is_deleted.then_some(instance.name));
        }
        Ok(swept)
    }

    async fn postpone_deadline(&self, instance: &Instance) {
        let deadline = (self.now() + POSTPONEMENT).to_string();
        let postponed = self.change(&instance.name, |current| {
            let is_before_publication = current.phase().is_before_publication();
            Ok(is_before_publication.then(|| json!({ "spec": { "creationDeadline": deadline } })))
        });
        if let Err(error) = postponed.await {
            tracing::warn!(clone = %instance.name, %error, "a clone's deadline cannot be postponed");
        }
    }
}
