//! What every provisioner does.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Access, CloneInfo, CloneName, CloneSpec, Health, ProvisionError, SetAside, SourceFacts, SweepReport,
};

/// Whether the task that works with a clone is unfinished, or cannot be known. Such a clone is not deleted.
pub type HasUnfinishedTask<'a> = &'a (dyn Fn(&CloneInfo) -> bool + Send + Sync);

/// Creates clones, runs them and deletes them. Whatever is called twice is done once.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// What identifies this provisioner among all, the same after a restart: the registry of clones knows by it whose
    /// clones it lists.
    fn id(&self) -> String;

    /// Works until `shutdown`, then ends all programs; the clones stay and run again under the next process. All other
    /// calls fail with [`ProvisionError::Unavailable`] unless this runs.
    async fn run(&self, shutdown: CancellationToken);

    /// The provisioner's health, now and later.
    fn watch_health(&self) -> watch::Receiver<Health>;

    /// The provisioner's health now.
    fn health(&self) -> Health {
        self.watch_health().borrow().clone()
    }

    /// The most time that a call which works on a clone may take. Calls end themselves before.
    fn call_limit(&self) -> Duration;

    /// What a call that works on this clone waits for, as sentences for people; `None` where calls do not wait for others.
    fn watch_progress(&self, _name: &CloneName) -> Option<watch::Receiver<String>> {
        None
    }

    /// Creates a clone and returns when its WordPress answers. A clone that exists already is returned as it is.
    ///
    /// # Errors
    /// It cannot be created; nothing is left of it then.
    async fn create(&self, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError>;

    /// Gives a clone that has no content yet its source's table prefix, PHP and PHP limits. Another prefix means a new
    /// database.
    ///
    /// # Errors
    /// There is no such clone, it is published, or the change failed.
    async fn match_source(&self, name: &CloneName, facts: &SourceFacts) -> Result<CloneInfo, ProvisionError>;

    /// All clones that can be read, oldest first.
    ///
    /// # Errors
    /// The provisioner is unavailable.
    async fn list(&self) -> Result<Vec<CloneInfo>, ProvisionError>;

    /// What is kept although it cannot be read. Empty while the provisioner is unavailable.
    async fn set_aside(&self) -> SetAside;

    /// How to log in to a clone.
    ///
    /// # Errors
    /// There is no such clone.
    async fn access(&self, name: &CloneName) -> Result<Access, ProvisionError>;

    /// Makes sure that a clone can be logged in to and imported into: the administrator exists with the password (an
    /// import replaces all users), and the migrator is open for another hour.
    ///
    /// # Errors
    /// There is no such clone, or its WordPress does not work.
    async fn ensure_access(&self, name: &CloneName) -> Result<Access, ProvisionError>;

    /// Publishes a clone: sets when it expires, once. A clone that is published already keeps its expiry.
    ///
    /// # Errors
    /// [`ProvisionError::Gone`] when it is being deleted.
    async fn publish(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError>;

    /// Changes when a published clone expires.
    ///
    /// # Errors
    /// There is no such clone, or it is not published.
    async fn extend(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError>;

    /// Deletes a clone and everything that belongs to it. Deleting a missing clone succeeds.
    ///
    /// # Errors
    /// Something of it could not be removed; the provisioner tries again by itself. A clone that cannot be read is not
    /// deleted: [`ProvisionError::Unreadable`].
    async fn delete(&self, name: &CloneName) -> Result<(), ProvisionError>;

    /// Deletes clones that have expired and clones that were not published before their deadline. A clone with an
    /// unfinished task stays, and its deadline is postponed.
    ///
    /// # Errors
    /// The provisioner is unavailable; a clone that cannot be deleted is left to the next sweep.
    async fn sweep(&self, has_unfinished_task: HasUnfinishedTask<'_>) -> Result<SweepReport, ProvisionError>;
}
