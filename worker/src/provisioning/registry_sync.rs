//! Keeps the registry of clones, which the API shows, up to date with the provisioner, and deletes clones whose time is
//! over. What is shown of a clone comes from the provisioner's record alone: tasks are kept for a shorter time than clones
//! may be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::Map;
use wpclone_clones::{CloneEntry, CloneLookup, CloneRegistry, RegistryError};
use wpclone_provision::{
    CloneInfo, CloneName, CloneProblem, CloneProblemKind, Phase, Provisioner, UnreadableClone,
};
use wpclone_queue::{Queue, TaskLookup};
use wpclone_service::seal::Sealer;
use wpclone_service::sealed_clone::{CloneSecrets, seal_clone};
use wpclone_task::SiteUrl;

use crate::metrics::Metrics;

/// How often clones are published and swept.
const INTERVAL: Duration = Duration::from_secs(15);
/// How many tasks are looked up at once, and how long all of a sweep may take.
const CONCURRENT_LOOKUPS: usize = 8;
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// Publishes the provisioner's clones to the registry.
#[derive(Clone)]
pub(crate) struct RegistrySync {
    pub(crate) provisioner: Arc<dyn Provisioner>,
    pub(crate) clones: CloneRegistry,
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
    pub(crate) metrics: Metrics,
}

/// What is known of the tasks of clones.
#[derive(Debug, Default)]
struct CloneTasks {
    /// Whether the task of a clone is unfinished; without an entry it is not known.
    unfinished: HashMap<CloneName, bool>,
    /// Why that is not known of some clones: of one that stands for all of them.
    unknown: Option<(CloneName, String)>,
}

impl RegistrySync {
    /// Publishes and sweeps now and then; never returns.
    pub(crate) async fn run(&self) {
        // A deletion that takes long does not delay what is shown.
        tokio::join!(self.publish_regularly(), self.sweep_regularly());
    }

    async fn publish_regularly(&self) {
        loop {
            // Also while no clone can be created, because WordPress is missing: existing clones run and expire.
            if let Err(error) = self.publish().await {
                tracing::debug!(%error, "the clones could not be published");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn sweep_regularly(&self) {
        let mut reported = None;
        loop {
            let unknown = self.sweep().await;
            // Said once, not with every sweep.
            if let Some((clone, error)) = unknown.as_ref().filter(|_| unknown != reported) {
                tracing::warn!(%clone, error, "a clone's task cannot be read; such clones are kept");
            }
            reported = unknown;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Deletes clones whose time is over. A clone whose task cannot be read is kept; returns one of them and the reason.
    async fn sweep(&self) -> Option<(CloneName, String)> {
        let Ok(clones) = self.provisioner.list().await else { return None };
        self.metrics.clone_problems(clones.iter().filter_map(|clone| Some(clone.problem.as_ref()?.kind)));
        let tasks = self.tasks_of(&clones).await;
        let has_unfinished_task =
            |clone: &CloneInfo| tasks.unfinished.get(&clone.name).copied().unwrap_or(true);
        match self.provisioner.sweep(&has_unfinished_task).await {
            Ok(swept) => {
                for name in swept.expired.iter().chain(&swept.abandoned) {
                    tracing::info!(clone = %name, "a clone has expired");
                    self.remove(name).await;
                }
            }
            Err(error) => tracing::warn!(%error, "clones could not be swept"),
        }
        tasks.unknown
    }

    /// Publishes all clones.
    async fn publish(&self) -> Result<(), RegistryError> {
        let time = self.clones.now().await?;
        // In this order: a clone that can be read again meanwhile is in both.
        let unreadable = self.provisioner.set_aside().await.clones;
        let Ok(clones) = self.provisioner.list().await else { return Ok(()) };
        let (mut entries, mut kept) = (Vec::new(), Vec::new());
        for info in &clones {
            match self.entry(info).await {
                Some(entry) => entries.push(entry),
                None => kept.push(info.name.clone()),
            }
        }
        let is_set_aside = |clone: &&UnreadableClone| clones.iter().all(|info| info.name != clone.name);
        for clone in unreadable.iter().filter(is_set_aside) {
            match self.unreadable_entry(clone).await? {
                Some(entry) => entries.push(entry),
                None => kept.push(clone.name.clone()),
            }
        }
        self.clones.publish(&self.provisioner.id(), &time, &entries, &kept).await
    }

    /// Publishes a clone that is new or has changed. An error is logged only: the next publication repeats it.
    pub(crate) async fn put(&self, info: &CloneInfo) {
        let Some(entry) = self.entry(info).await else { return };
        if let Err(error) = self.clones.put(&self.provisioner.id(), &entry).await {
            tracing::warn!(%error, clone = %info.name, "the clone could not be put into the registry");
        }
    }

    /// Removes a deleted clone from the registry. An error is logged only: the next publication repeats it.
    pub(crate) async fn remove(&self, name: &CloneName) {
        if let Err(error) = self.clones.remove(name).await {
            tracing::warn!(%error, clone = %name, "the deleted clone could not be removed from the registry");
        }
    }

    /// A clone's entry, with its secrets while it can be used; `None` when the provisioner does not tell them now.
    async fn entry(&self, info: &CloneInfo) -> Option<CloneEntry> {
        let sealed = match info.phase {
            Phase::Creating | Phase::Deleting | Phase::Unreadable => None,
            Phase::Ready | Phase::Published => {
                let access = self.provisioner.access(&info.name).await.ok()?;
                let secrets = CloneSecrets { password: access.password, login_key: access.login_key };
                seal_clone(&self.sealer, &info.name, &secrets).ok()
            }
        };
        Some(CloneEntry { sealed, ..entry_without_secrets(info)? })
    }

    /// The entry of a clone that is set aside: as its record says, or, when that cannot be read, as the registry last had
    /// it. `None` when neither is known.
    async fn unreadable_entry(&self, clone: &UnreadableClone) -> Result<Option<CloneEntry>, RegistryError> {
        let entry = match &clone.info {
            Some(info) => entry_without_secrets(info),
            None => match self.clones.get(&clone.name).await? {
                CloneLookup::Found(entry) => Some(*entry),
                CloneLookup::Gone(deleted) => Some(deleted.entry),
                CloneLookup::NotFound | CloneLookup::Unreadable => None,
            },
        };
        let problem = CloneProblem::new(CloneProblemKind::Unreadable, &clone.reason);
        Ok(entry.map(|entry| CloneEntry { phase: Phase::Unreadable, problem: Some(problem), ..entry }))
    }

    async fn tasks_of(&self, clones: &[CloneInfo]) -> CloneTasks {
        let mut tasks = CloneTasks::default();
        let ask = |clone: &CloneInfo| {
            let (name, asked) = (clone.name.clone(), self.queue.get(clone.task));
            async move { (name, asked.await) }
        };
        let answers = stream::iter(clones.iter().map(ask)).buffered(CONCURRENT_LOOKUPS);
        // Of clones that are not asked about in time nothing is known, and they are kept.
        let mut answers = std::pin::pin!(answers.take_until(tokio::time::sleep(LOOKUP_LIMIT)));
        while let Some((name, answer)) = answers.next().await {
            let is_unfinished = match answer {
                Ok(TaskLookup::Found(task)) => Ok(!task.state.is_final()),
                Ok(TaskLookup::Gone | TaskLookup::NotFound) => Ok(false),
                Ok(TaskLookup::Unreadable) => Err("another version wrote its record".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            match is_unfinished {
                Ok(is_unfinished) => {
                    tasks.unfinished.insert(name, is_unfinished);
                }
                Err(why) => tasks.unknown = tasks.unknown.take().or(Some((name, why))),
            }
        }
        tasks
    }
}

/// A clone as its record describes it; `None` when its address is not one.
fn entry_without_secrets(info: &CloneInfo) -> Option<CloneEntry> {
    let effective_isolation = serde_json::to_value(info.effective_isolation).ok()?;
    Some(CloneEntry {
        name: info.name.clone(),
        url: SiteUrl::parse(&info.url).ok()?,
        phase: info.phase,
        problem: info.problem.clone(),
        task: info.task,
        owner: info.owner.clone(),
        source: info.source.clone(),
        username: info.username.clone(),
        created_at: info.created_at,
        deadline: info.deadline,
        expires_at: info.expires_at,
        isolation: info.isolation,
        effective_isolation: effective_isolation.as_object().cloned().unwrap_or_else(Map::new),
        location: info.location.clone(),
        sealed: None,
    })
}

#[cfg(test)]
mod tests;
