//! Deletes clones.

use std::io;
use std::sync::Arc;

use wpclone_provision::{CloneName, CloneProblemKind, Phase, ProvisionError};

use crate::blocking::run_blocking;
use crate::database_server::DatabaseServers;
use crate::error::{failed, task_failed};
use crate::files::remove_all;
use crate::host::Host;
use crate::local_clone::{CloneProcesses, LocalClone};
use crate::local_clones::LocalClones;
use crate::record::CloneRecord;
use crate::shared_database::SharedDatabase;
use crate::stored::ReadError;

/// Deletes clones.
pub(crate) struct Destroyer {
    pub(crate) host: Arc<Host>,
    pub(crate) servers: DatabaseServers,
    pub(crate) shared: Arc<SharedDatabase>,
    pub(crate) clones: Arc<LocalClones>,
}

impl Destroyer {
    /// Deletes a clone and everything that belongs to it, and remembers for a day that it existed. A deletion that is
    /// interrupted is continued: tombstone and record say so before anything is removed.
    pub(crate) async fn delete(self: &Arc<Self>, entry: Arc<LocalClone>) -> Result<(), ProvisionError> {
        let destroyer = Arc::clone(self);
        let deleting = async move {
            let deleted = destroyer.delete_now(&entry).await;
            if let Err(error) = &deleted {
                note_failure(&entry, error);
            }
            deleted
        };
        tokio::spawn(deleting).await.map_err(task_failed)?
    }

    /// Removes what a failed or interrupted creation left, unless the clone is being created again.
    pub(crate) async fn delete_unfinished(
        self: &Arc<Self>,
        entry: Arc<LocalClone>,
    ) -> Result<(), ProvisionError> {
        let destroyer = Arc::clone(self);
        let deleting = async move {
            let (mut processes, name) = (entry.processes.lock().await, entry.name());
            if !entry.is_unfinished() || !destroyer.clones.is_current(&entry) {
                return Ok(());
            }
            let removed = destroyer.remove_unfinished(&entry, &mut processes).await;
            let removed = removed.map_err(failed("what is left of it cannot be removed"));
            match &removed {
                Ok(()) => {
                    destroyer.clones.remove(&name);
                    tracing::info!(clone = %name, "removed what was left of a clone that was not created completely");
                }
                Err(error) => note_failure(&entry, error),
            }
            removed
        };
        tokio::spawn(deleting).await.map_err(task_failed)?
    }

    async fn delete_now(&self, entry: &Arc<LocalClone>) -> Result<(), ProvisionError> {
        let (mut processes, name) = (entry.processes.lock().await, entry.name());
        if !self.clones.is_current(entry) {
            return Ok(());
        }
        entry.set_serving(false);
        let (tombstones, deleted, now) = (self.clones.tombstones.clone(), name.clone(), self.host.now());
        if let Err(error) = self.host.lock.run_blocking(move || tombstones.add(&deleted, now)).await {
            // On a full disk nothing can be written, and removing is what helps.
            tracing::warn!(clone = %name, %error, "the tombstone of a clone cannot be written");
        }
        let marked = entry.change(&self.host.lock, |record| {
            let is_new = record.info.phase != Phase::Deleting;
            record.info.phase = Phase::Deleting;
            Ok(is_new)
        });
        if let Err(error) = marked.await {
            tracing::warn!(clone = %name, %error, "a clone's record does not say that it is being deleted");
            entry.mark_deleting().await;
        }
        processes.stop().await;
        self.remove_parts(&name).await.map_err(failed("the clone cannot be removed completely"))?;
        self.clones.remove(&name);
        tracing::info!(clone = %name, "a clone is deleted");
        Ok(())
    }

    /// Removes what there is of a clone that could not be created. Nothing is removed unless the record says that the
    /// clone was being created.
    pub(crate) async fn remove_unfinished(
        &self,
        entry: &LocalClone,
        processes: &mut CloneProcesses,
    ) -> io::Result<()> {
        processes.stop().await;
        let (info, paths) = (entry.info(), entry.paths.clone());
        let name = info.name.clone();
        match run_blocking(move || Ok(CloneRecord::read(&paths, &name))).await? {
            Ok(found) if found.info.phase == Phase::Creating && found.info.task == info.task => {
                self.remove_parts(&info.name).await
            }
            Ok(_) => Err(io::Error::other("its folder belongs to another clone")),
            // Nothing but the folder was created.
            Err(ReadError::Missing(_)) => self.remove_folder(&info.name).await,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Removes the folder of a clone if there is nothing in it.
    pub(crate) async fn remove_folder(&self, name: &CloneName) -> io::Result<()> {
        let paths = self.host.state_dir.clone_paths(name);
        let removed = self.host.lock.run_blocking(move || match paths.is_without_content() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(false) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            Ok(true) => {
                paths.remove_content()?;
                paths.remove_record()
            }
            Err(error) => Err(error),
        });
        removed.await
    }

    /// Removes schema, data and folder of a clone; its record last, and only when the rest is gone. The caller knows that
    /// the clone may be removed.
    pub(crate) async fn remove_parts(&self, name: &CloneName) -> io::Result<()> {
        let dropped = self.shared.admin().drop(name.as_str()).await;
        let (data, paths) = (self.servers.folder(name.as_str()), self.host.state_dir.clone_paths(name));
        // A database server that does not run is no reason to keep the files.
        let removed = self.host.lock.run_blocking(move || {
            let data_removed = remove_all(&data);
            paths.remove_content()?;
            data_removed?;
            dropped?;
            paths.remove_record()
        });
        removed.await
    }
}

/// Notes that a clone could not be removed, and logs it now and then.
fn note_failure(entry: &LocalClone, error: &ProvisionError) {
    if entry.note_failure(CloneProblemKind::NotRemovable, &error.to_string()) {
        tracing::warn!(clone = %entry.name(), %error, "a clone cannot be removed; it is tried again with growing pauses");
    }
}
