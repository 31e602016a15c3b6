//! What the preparation of a clone's site stores before it leaves the migrator there: for a repeat of the step, and for the
//! end of the task, should the step never end.

use wpclone_task::{Problem, Role, SecretString, SiteUrl};

use crate::job::Job;

/// The migrator that a task installs on one of its sites.
pub(crate) struct InstallRecord<'a> {
    pub(super) job: &'a Job,
    pub(super) role: Role,
    /// The site's address as it was found.
    pub(super) site: &'a SiteUrl,
}

impl InstallRecord<'_> {
    /// Whether an earlier attempt, or an earlier run of the task, has installed it.
    pub(crate) fn was_installed(&self) -> bool {
        self.job.migrator_install_marker(self.role).was_installed
    }

    /// Stores that it is about to be installed on a site that has none.
    ///
    /// # Errors
    /// The queue did not confirm it: nothing may be uploaded.
    pub(crate) async fn set_installing(&self) -> Result<(), Problem> {
        self.job.migrator_install_marker(self.role).set_installed().await?;
        self.job.left_on_sites.register_migrator(self.job, self.role, self.site, None).await
    }

    /// Stores its key: from now on the queue can remove it without the task.
    ///
    /// # Errors
    /// The queue did not confirm it.
    pub(crate) async fn set_key(&self, key: &SecretString) -> Result<(), Problem> {
        self.job.left_on_sites.register_migrator(self.job, self.role, self.site, Some(key)).await
    }

    /// Stores that it is gone.
    pub(crate) async fn set_removed(&self) {
        self.job.migrator_install_marker(self.role).set_removed().await;
        self.job.left_on_sites.clear(self.role).await;
    }
}
