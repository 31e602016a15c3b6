//! Tasks that only read a site share its lock.

use wpclone_task::SiteKey;

use crate::producer::unexpected;
use crate::{Lease, MAX_RESULT_BYTES, Queue, QueueError};

/// The most bytes of what is stored for tasks that read the same site.
const MAX_SHARED: usize = 2 * MAX_RESULT_BYTES;

/// What leaving a site has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteLeave {
    /// Nobody else reads the site. The task has its lock alone, until it ends.
    Last,
    /// Others read the site, and what is left on it is undone by the last of them.
    Left,
    /// Others read the site, and so does the task.
    Others,
    /// So do they, but all of them wait until they have the site alone. The task has to end: it is not the oldest of them.
    Stuck,
}

impl Queue {
    /// Shares the lock of a site, which the task has set up, with tasks of the same [`SiteLock::share_key`]: `limit` of them at
    /// once, the task included. Those that come within ten minutes begin with this value ([`Claim::shared`]). What the task has
    /// registered as left on the site under the name `source` becomes theirs as well. Nothing for a task without a key.
    ///
    /// [`SiteLock::share_key`]: crate::SiteLock::share_key
    /// [`Claim::shared`]: crate::Claim::shared
    ///
    /// # Errors
    /// The lease is lost, the value is too large, or Redis failed.
    pub async fn share_site(
        &self,
        lease: &Lease,
        site: &SiteKey,
        limit: u32,
        value: &str,
    ) -> Result<(), QueueError> {
        if value.len() > MAX_SHARED {
            return Err(QueueError::TooLarge("what is shared"));
        }
        let mut call = self.leased_call(lease, "share_site");
        call.arg(site.as_str()).arg(limit.max(1)).arg(value);
        self.run_leased(&call).await.map(drop)
    }

    /// The task does not read a site any more. Whoever is the last has to undo what is left there: it has the lock alone from
    /// now on. May be repeated.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn leave_site(&self, lease: &Lease, site: &SiteKey) -> Result<SiteLeave, QueueError> {
        self.leave(lease, site, "").await
    }

    /// Takes the lock of a site alone if nobody else reads it: the task sets it up anew. If others do, nobody joins them any
    /// more, and the step may ask again later. Of tasks that all wait so, only the oldest may.
    ///
    /// # Errors
    /// Those of [`Queue::leave_site`].
    pub async fn hold_site_alone(&self, lease: &Lease, site: &SiteKey) -> Result<SiteLeave, QueueError> {
        self.leave(lease, site, "1").await
    }

    async fn leave(
        &self,
        lease: &Lease,
        site: &SiteKey,
        only_as_last: &str,
    ) -> Result<SiteLeave, QueueError> {
        let mut call = self.leased_call(lease, "leave_site");
        call.arg(site.as_str()).arg(only_as_last);
        let answer = self.run_leased(&call).await?;
        match answer.first().map(String::as_str) {
            Some("last") => Ok(SiteLeave::Last),
            Some("left") => Ok(SiteLeave::Left),
            Some("others") => Ok(SiteLeave::Others),
            Some("stuck") => Ok(SiteLeave::Stuck),
            _ => Err(unexpected(&answer)),
        }
    }
}
