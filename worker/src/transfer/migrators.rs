//! The migrators of a clone's sites, as earlier steps have left them.

use url::Url;
use wpclone_migrator::{Client, Key};
use wpclone_task::{
    CloneDestination, CloneRequest, ExposeSecret as _, PluginStatus, Role, SecretString, SiteUrl,
};

use crate::job::Job;

/// Makes clients for the migrators of a clone.
pub(super) struct Migrators<'a> {
    pub(super) job: &'a Job,
    pub(super) request: &'a CloneRequest,
    pub(super) http: &'a reqwest::Client,
}

/// A migrator that an earlier step has prepared.
pub(super) struct Migrator {
    pub(super) client: Client,
    pub(super) key: SecretString,
    pub(super) role: Role,
    /// How it came to be on the site; `None` on a clone of ours, which brings its own.
    pub(super) plugin_status: Option<PluginStatus>,
    /// Whether the task removes it at the end: the request says so, and this task installed it.
    pub(super) is_removed_at_end: bool,
}

impl Migrators<'_> {
    pub(super) fn source(&self) -> Option<Migrator> {
        self.prepared(Role::Source)
    }

    /// The target of the caller's, unless the content goes to a clone of ours.
    pub(super) fn target(&self) -> Option<Migrator> {
        matches!(self.request.destination, CloneDestination::Target(_))
            .then(|| self.prepared(Role::Target))
            .flatten()
    }

    /// What the content goes to.
    pub(super) fn destination(&self) -> Option<Migrator> {
        match self.request.destination {
            CloneDestination::Clone { .. } => {
                let clone = self.job.prior.provisioned()?;
                self.migrator(Role::Target, &clone.url, &clone.migrator_key, None)
            }
            CloneDestination::Target(_) => self.target(),
        }
    }

    fn prepared(&self, role: Role) -> Option<Migrator> {
        let site = self.job.prior.prepared(role)?;
        self.migrator(role, site.site.as_str(), &site.api_key, Some(site.plugin_status))
    }

    fn migrator(
        &self,
        role: Role,
        url: &str,
        key: &SecretString,
        status: Option<PluginStatus>,
    ) -> Option<Migrator> {
        let url = SiteUrl::parse(url).ok()?.url().clone();
        let parsed: Key = key.expose_secret().parse().ok()?;
        Some(Migrator {
            client: Client::new(self.http.clone(), url, parsed),
            key: key.clone(),
            role,
            plugin_status: status,
            is_removed_at_end: self.request.remove_migrator && status == Some(PluginStatus::Installed),
        })
    }
}

/// The addresses of the sites between which content is copied, as far as they are known.
pub(super) fn addresses(job: &Job, request: &CloneRequest) -> Vec<Url> {
    let source = job.prior.prepared(Role::Source).map(|source| source.site.clone());
    let target = job.prior.prepared(Role::Target).map(|target| target.site.clone());
    let target = target.filter(|_| matches!(request.destination, CloneDestination::Target(_)));
    let sites = source.into_iter().chain(target).map(|site| site.url().clone());
    sites.chain(clone_address(job, request)).collect()
}

/// The address of the clone that the task makes, once it is known.
pub(super) fn clone_address(job: &Job, request: &CloneRequest) -> Option<Url> {
    match request.destination {
        CloneDestination::Clone { .. } => {
            let clone = SiteUrl::parse(&job.prior.provisioned()?.url).ok()?;
            Some(clone.url().clone())
        }
        CloneDestination::Target(_) => None,
    }
}
