//! The job on the target: opened or resumed, checked, and ended after the transfer.

use wpclone_migrator::{
    AllowedContent, Client, Definition, Import, JobOptions, Manifest, OutgoingPart, PartKind, Root,
    SANDBOX_PLUGIN_FILE,
};

use super::{TargetKind, Transfer};
use crate::error::{PreflightFailure, TransferError};
use crate::existing_content::existing_content;
use crate::plan::Plan;

impl Transfer<'_> {
    /// Opens a new job, or resumes one that was still receiving rows and files. A job in a later phase, with tables that the
    /// source no longer has, or with other roots (the source's WordPress was updated) is ended and a new one opened.
    pub(super) async fn open_job(
        &self,
        roots: &[Root],
        plan: &Plan,
        all: &[Definition],
    ) -> Result<Import, TransferError> {
        let mut options = job_options(self.target_kind, roots);
        if self.copy_unprefixed_tables {
            options.allow.push(AllowedContent::UnprefixedTables);
        }
        let begin =
            || async { self.target.begin(self.job_id, &options).await.map_err(TransferError::Target) };
        let import = begin().await?;
        match (import.info().phase.as_str(), self.target_kind) {
            ("open", _) if import.info().roots == roots && !plan.lacks(all, &import.info().tables) => {
                return Ok(import);
            }
            ("swapped", TargetKind::Clone { .. }) => import.commit().await.map_err(TransferError::Target)?,
            _ => restore_and_abort(&import).await?,
        }
        begin().await
    }

    /// Fails if an existing site is not empty.
    pub(super) async fn check_target(&self, import: &Import, to: &Manifest) -> Result<(), TransferError> {
        if matches!(self.target_kind, TargetKind::Clone { .. }) {
            return Ok(());
        }
        let content = existing_content(self.target, to).await?;
        if content.is_empty() {
            return Ok(());
        }
        // If this fails, the job expires, or is removed with the migrator.
        let _ = import.abort().await;
        let detail =
            format!("The target is not empty: it has {}. Nothing of it was changed.", content.join(", "));
        Err(TransferError::Preflight(PreflightFailure::TargetNotEmpty, detail))
    }

    pub(super) async fn store_sandbox_plugin(&self, import: &Import) -> Result<(), TransferError> {
        let TargetKind::ExistingSite { sandbox_plugin } = self.target_kind else { return Ok(()) };
        let mut batch = import.file_batch();
        let part = OutgoingPart {
            root: Root::MuPlugins,
            path: SANDBOX_PLUGIN_FILE.as_bytes(),
            kind: PartKind::Final,
            mode: 0o644,
            size: sandbox_plugin.len() as u64,
            mtime: 0,
            offset: 0,
        };
        batch.part(&part, &[sandbox_plugin.as_bytes()]);
        let stored =
            import.store(batch, &mut import.adaptive_batch()).await.map_err(TransferError::Target)?;
        match stored.rejected.first() {
            None => Ok(()),
            Some(file) => Err(TransferError::Verification(format!(
                "The target rejected the must-use sandbox plugin ({}).",
                file.field
            ))),
        }
    }
}

fn job_options(target_kind: TargetKind<'_>, roots: &[Root]) -> JobOptions {
    let mut allow = vec![AllowedContent::Views, AllowedContent::Triggers, AllowedContent::PhpInUploads];
    let is_site = matches!(target_kind, TargetKind::ExistingSite { .. });
    if is_site {
        allow.push(AllowedContent::SandboxPlugin);
    }
    JobOptions { allow, reversible: is_site, roots: roots.to_vec(), replace: true }
}

/// Restores the target's former content, whatever the phase of the job, and ends the job.
async fn restore_and_abort(import: &Import) -> Result<(), TransferError> {
    if matches!(import.info().phase.as_str(), "swapping" | "swapped" | "rolling_back") {
        import.rollback().await.map_err(TransferError::Target)?;
    }
    import.abort().await.map_err(TransferError::Target)
}

/// Restores the former content of an existing site after a transfer into it. Succeeds if there was none.
///
/// # Errors
/// See [`TransferError`].
pub async fn rollback(target: &Client, job: &str) -> Result<(), TransferError> {
    let import = resume_job(target, job).await?;
    restore_and_abort(&import).await
}

/// Drops the former content of an existing site after a transfer into it.
///
/// # Errors
/// See [`TransferError`].
pub async fn commit(target: &Client, job: &str) -> Result<(), TransferError> {
    let import = resume_job(target, job).await?;
    let ended = match import.info().phase.as_str() {
        "swapped" | "cleaning_up" => import.commit().await,
        // Opened by this very call: the job was committed before.
        _ => import.abort().await,
    };
    ended.map_err(TransferError::Target)
}

async fn resume_job(target: &Client, job: &str) -> Result<Import, TransferError> {
    let options = job_options(TargetKind::ExistingSite { sandbox_plugin: "" }, &[]);
    target.begin(job, &options).await.map_err(TransferError::Target)
}
