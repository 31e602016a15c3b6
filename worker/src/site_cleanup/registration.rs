//! Registers with the queue what a task would leave on its sites if it ended now, so that the queue can undo it without the
//! task.

use serde::{Deserialize, Serialize};
use url::Url;
use wpclone_queue::{Claim, Lease, Queue, QueueError, SiteCleanup};
use wpclone_service::seal::Sealer;
use wpclone_task::{
    CloneDestination, CloneRequest, Code, PluginStatus, PreparedSite, Problem, Request, Role, SecretString,
    SiteKey, SiteUrl, StepOutput, TaskId,
};

use crate::job::Job;
use crate::queue_retry::store_with_retry;

/// What a clean-up needs to know beside its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum CleanupDetails {
    /// The secret is the migrator's key.
    Migrator(MigratorCleanup),
    /// The secret is a session (`LoginSession`) on the site at this address. It is ended.
    Session { session_of: Url },
}

impl CleanupDetails {
    pub(crate) fn of_session(site: &Url) -> serde_json::Value {
        serde_json::json!({ "session_of": site })
    }
}

/// What the clean-up of a migrator needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MigratorCleanup {
    /// The site's address.
    pub(crate) url: Url,
    /// The task that the key is sealed for: another one than that which has left it, where both have read the source.
    pub(crate) sealed_for: TaskId,
    /// The import into the site. It is made final when the task was completed, else rolled back. `None` for a source.
    pub(crate) import: Option<String>,
    /// Whether the migrator is removed when the task was completed.
    pub(crate) remove_when_completed: bool,
    /// Whether the migrator is removed when the task ended in another way.
    pub(crate) remove_when_ended: bool,
}

/// The registrations of one step.
#[derive(Clone)]
pub(crate) struct Registrations {
    queue: Queue,
    lease: Lease,
    sealer: Sealer,
}

impl Registrations {
    pub(crate) fn of(queue: &Queue, claim: &Claim, sealer: &Sealer) -> Self {
        Self { queue: queue.clone(), lease: claim.lease.clone(), sealer: sealer.clone() }
    }

    /// Registers what a step leaves behind that ended with this output; called before its end is reported.
    ///
    /// # Errors
    /// The queue did not confirm it: the step has not ended.
    pub(crate) async fn register(&self, job: &Job, output: &StepOutput) -> Result<(), Box<Problem>> {
        let stored = match (&job.request, output) {
            (Request::Setup(setup), StepOutput::Setup(_)) => self.take_over(&setup.login.site.key()).await,
            (Request::Clone(request), StepOutput::Prepared(role, site)) => {
                self.prepared(job, request, *role, site).await?
            }
            _ => Ok(()),
        };
        stored.map_err(|error| not_stored(&error))
    }

    /// Registers that a migrator may be left on a site on which the task has installed it, or is about to: before the step
    /// that prepares the site has an output. `key`: as soon as it is known. Nothing if the request keeps it.
    ///
    /// # Errors
    /// The queue did not confirm it.
    pub(crate) async fn register_migrator(
        &self,
        job: &Job,
        role: Role,
        site: &SiteUrl,
        key: Option<&SecretString>,
    ) -> Result<(), Problem> {
        let Request::Clone(request) = &job.request else { return Ok(()) };
        if role == Role::Source && !request.remove_migrator {
            return Ok(());
        }
        let url = site.url().clone();
        let left = match key {
            Some(_) => installed_sentence(&url),
            None => {
                format!("{} wpclone does not know its key: delete it in wp-admin.", installed_sentence(&url))
            }
        };
        let cleanup = MigratorCleanup {
            url,
            sealed_for: job.task,
            import: None,
            remove_when_completed: request.remove_migrator,
            remove_when_ended: true,
        };
        let stored = async {
            let cleanup = self.cleanup(job.task, site_key(request, role), role, left, &cleanup, key)?;
            self.store(role, Some(&cleanup)).await.map_err(|error| not_stored(&error))
        };
        stored.await.map_err(|problem| *problem)
    }

    /// Nothing of this task is left on the site any more.
    pub(crate) async fn clear(&self, role: Role) {
        if let Err(error) = self.store(role, None).await {
            tracing::warn!(%error, "the registration of a clean-up cannot be deleted; it will find nothing to do");
        }
    }

    async fn prepared(
        &self,
        job: &Job,
        request: &CloneRequest,
        role: Role,
        site: &PreparedSite,
    ) -> Result<Result<(), QueueError>, Box<Problem>> {
        let key = site_key(request, role);
        if !request.remove_migrator
            && let Err(error) = self.take_over(&key).await
        {
            return Ok(Err(error));
        }
        let Some((left, details)) = left_behind(job, request, role, site) else { return Ok(Ok(())) };
        let cleanup = self.cleanup(job.task, key, role, left, &details, Some(&site.api_key))?;
        Ok(self.store(role, Some(&cleanup)).await)
    }

    fn cleanup(
        &self,
        task: TaskId,
        site: SiteKey,
        role: Role,
        left: String,
        details: &MigratorCleanup,
        key: Option<&SecretString>,
    ) -> Result<SiteCleanup, Box<Problem>> {
        let sealed = key.map(|key| self.sealer.seal(task, &seal_field(role.as_str()), key)).transpose();
        let sealed =
            sealed.map_err(|error| fault(format!("The migrator's key cannot be sealed: {error}.")))?;
        let details =
            serde_json::to_value(details).map_err(|_| fault(format!("{} cannot be stored.", details.url)))?;
        Ok(SiteCleanup { site, left, details, sealed })
    }

    /// This task has promised its owner the migrator: clean-ups of earlier tasks do not remove it.
    async fn take_over(&self, site: &SiteKey) -> Result<(), QueueError> {
        store_with_retry(|| self.queue.supersede_site_cleanups(&self.lease, site)).await
    }

    async fn store(&self, role: Role, cleanup: Option<&SiteCleanup>) -> Result<(), QueueError> {
        store_with_retry(|| self.queue.set_site_cleanup(&self.lease, role.as_str(), cleanup)).await
    }
}

/// What a task leaves on a site that it has prepared, as a sentence and for the clean-up; `None` for nothing.
fn left_behind(
    job: &Job,
    request: &CloneRequest,
    role: Role,
    site: &PreparedSite,
) -> Option<(String, MigratorCleanup)> {
    let (url, was_installed) = (site.site.url().clone(), site.plugin_status == PluginStatus::Installed);
    let remove_when_completed = was_installed && request.remove_migrator;
    let sealed_for = job.task;
    match role {
        Role::Source if !remove_when_completed => None,
        Role::Source => Some((
            installed_sentence(&url),
            MigratorCleanup { url, sealed_for, import: None, remove_when_completed, remove_when_ended: true },
        )),
        Role::Target => {
            let left = format!("Parts of the copy, and the plugin wpclone-migrator, may still be on {url}.");
            let import = Some(job.import_id());
            Some((
                left,
                MigratorCleanup {
                    url,
                    sealed_for,
                    import,
                    remove_when_completed,
                    remove_when_ended: was_installed,
                },
            ))
        }
    }
}

fn installed_sentence(url: &Url) -> String {
    format!("The plugin wpclone-migrator may still be installed on {url}.")
}

/// The site of a task that has this role, as locks know it.
fn site_key(request: &CloneRequest, role: Role) -> SiteKey {
    match (role, &request.destination) {
        (Role::Target, CloneDestination::Target(target)) => target.site.key(),
        _ => request.source.site.key(),
    }
}

fn not_stored(error: &QueueError) -> Box<Problem> {
    fault(format!("What the step leaves behind cannot be stored: {error}."))
}

/// The field that the secret of a clean-up is sealed for.
pub(crate) fn seal_field(name: &str) -> String {
    format!("cleanup.{name}")
}

fn fault(detail: String) -> Box<Problem> {
    Box::new(Problem::new(Code::WorkerFault, detail))
}

/// The name of the import of a task into its target: the same for every attempt of a run.
pub(crate) fn import_id(task: TaskId, replays: u32) -> String {
    task.derived(&format!("transfer {replays}")).simple().to_string()
}
