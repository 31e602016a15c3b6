//! Gives a new clone its source's table prefix, PHP and limits.

use std::sync::Arc;

use wpclone_provision::{CloneInfo, Phase, ProvisionError, SourceFacts, table_prefix};

use crate::clone_setup::CloneSetup;
use crate::error::task_failed;
use crate::local_clone::LocalClone;
use crate::record::CloneRecord;
use crate::template_store::TemplateStore;

/// Changes clones that have no content yet.
pub(crate) struct SourceMatcher {
    pub(crate) setup: Arc<CloneSetup>,
    pub(crate) templates: Arc<TemplateStore>,
}

impl SourceMatcher {
    /// See [`wpclone_provision::Provisioner::match_source`]. When the caller stops waiting, the change is still finished.
    pub(crate) async fn match_source(
        self: &Arc<Self>,
        entry: Arc<LocalClone>,
        facts: SourceFacts,
    ) -> Result<CloneInfo, ProvisionError> {
        let matcher = Arc::clone(self);
        tokio::spawn(async move { matcher.change(&entry, facts).await }).await.map_err(task_failed)?
    }

    async fn change(&self, entry: &Arc<LocalClone>, facts: SourceFacts) -> Result<CloneInfo, ProvisionError> {
        let prefix = table_prefix(&facts)?;
        let mut processes = entry.processes.lock().await;
        let before = entry.runnable()?;
        let template = self.templates.current()?;
        let new_database = prefix != before.table_prefix;
        if facts == before.facts && !new_database {
            return Ok(before);
        }
        if before.phase == Phase::Published {
            return Err(ProvisionError::AlreadyPublished(before.name));
        }
        let secrets = self.setup.secrets(entry).await?;
        entry.set_serving(false);
        let php = self.setup.host.binaries.fpm_for(facts.php.as_deref()).0.clone();
        let matched = |record: &mut CloneRecord| {
            record.info.table_prefix = prefix;
            (record.info.facts, record.info.php) = (facts, php);
            Ok(true)
        };
        entry.change(&self.setup.host.lock, matched).await?;
        processes.stop_fpm().await;
        if new_database {
            self.setup.create_database(entry, &processes, &template, &secrets).await?;
        }
        self.setup.write_config(entry, &processes, &secrets).await?;
        self.setup.ensure_running(entry, &mut processes).await?;
        self.setup.grant_access(entry, &secrets).await?;
        entry.set_serving(true);
        Ok(entry.info())
    }
}
