//! Taking a clone away.

use std::io;
use std::sync::Arc;

use super::dirs::remove_dir;
use super::entry::Programs;
use super::record::remember_gone;
use super::{Entry, Owner};
use crate::{Isolation, Phase, ProvisionError};

impl Owner {
    /// Deletes a clone with everything of it, and remembers for a day that it was there.
    pub(super) async fn delete(self: &Arc<Self>, entry: Arc<Entry>) -> Result<(), ProvisionError> {
        let owner = Arc::clone(self);
        let deleted = tokio::spawn(async move {
            let mut programs = entry.programs.lock().await;
            let name = entry.info().name;
            if !owner.entry(&name).is_some_and(|current| Arc::ptr_eq(&current, &entry)) {
                return Ok(());
            }
            entry.set_up(false);
            let marked = entry.change(&owner.dirs, |record| {
                record.info.phase = Phase::Deleting;
                Ok::<_, io::Error>(true)
            });
            if let Err(error) = marked {
                // On a full disk nothing can be written; removing is what helps.
                tracing::warn!(clone = %name, %error, "the clone's record cannot be written");
            }
            if let Err(error) = remember_gone(&owner.dirs, &name, owner.now()) {
                tracing::warn!(clone = %name, %error, "it cannot be remembered that the clone is gone");
            }
            owner
                .unmake_all(&entry, &mut programs)
                .await
                .map_err(ProvisionError::failed("the clone stays"))?;
            owner.forget(&name);
            tracing::info!(clone = %name, "a clone is deleted");
            Ok(())
        });
        deleted.await.map_err(|e| ProvisionError::Failed(e.to_string()))?
    }

    /// Removes what there is of a clone that could not be made; says whether nothing is left.
    pub(super) async fn unmake(&self, entry: &Entry, programs: &mut Programs) -> bool {
        let unmade = self.unmake_all(entry, programs).await;
        if let Err(error) = &unmade {
            tracing::warn!(clone = %entry.info().name, %error, "something is left of a clone that could not be made");
        }
        unmade.is_ok()
    }

    async fn unmake_all(&self, entry: &Entry, programs: &mut Programs) -> io::Result<()> {
        let info = entry.info();
        if let Some(fpm) = programs.fpm.take() {
            fpm.stop().await;
        }
        if let Some(server) = programs.server.take() {
            server.stop().await;
        }
        let dropped = match info.isolation {
            Isolation::Shared => self.sql().drop(info.name.as_str()).await,
            Isolation::Dedicated => Ok(()),
        };
        let (own_server, folder) = (self.servers.folder(info.name.as_str()), entry.seat.folder.clone());
        let removed = self.held.blocking(move || {
            remove_dir(&own_server)?;
            remove_dir(&folder)
        });
        removed.await?;
        // A server that is not there has no reason to keep the files.
        dropped
    }
}
