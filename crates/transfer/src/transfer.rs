//! A transfer from its first look at both sides to the swap.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    AdaptiveBatch, AllowedContent, Client, ClientError, Definition, EntryKind, Import, JobOptions, Manifest,
    OutgoingPart, PartKind, Root, SANDBOX_PLUGIN_FILE, Table,
};
use wpclone_rewrite::Report;

use crate::error::{PreflightFailure, TransferError};
use crate::existing_content::existing_content;
use crate::fidelity::{Fidelity, FilesFidelity, Memory, TableFidelity};
use crate::files::FileMove;
use crate::free_space::{required_bytes, size_of_tables, space_shortage};
use crate::plan::{Core, Plan, ROOTS, versions_of};
use crate::progress::TransferProgress;
use crate::table::{Moved, TableMove};

/// Tables in flight. With the files that makes less requests at a time than a migrator takes.
const TABLES: usize = 2;
/// The most left-overs that are told with their context.
const LEFT_OVERS: usize = 200;

/// The kind of site that receives the content.
#[derive(Debug, Clone, Copy)]
pub enum TargetKind<'a> {
    /// A clone. Its content is replaced, and nothing of it is kept.
    Clone,
    /// An existing WordPress, which has to be empty. Its former content is kept until [`commit`] drops it or [`rollback`]
    /// restores it.
    ExistingSite {
        /// Source of the must-use plugin that keeps the copy from mailing and calling others.
        sandbox_plugin: &'a str,
    },
}

/// A transfer of all content of a site.
pub struct Transfer<'a> {
    /// Where content comes from.
    pub source: &'a Client,
    /// Where it goes to.
    pub target: &'a Client,
    /// What that is.
    pub target_kind: TargetKind<'a>,
    /// What it is called on the target: 32 hex digits, the same when it is taken up again.
    pub job_id: &'a str,
    /// How far it is.
    pub progress: &'a TransferProgress,
    /// Cancelled when it is to stop. Nothing of the target that was live has been touched before the swap.
    pub cancel: &'a CancellationToken,
}

impl Transfer<'_> {
    /// Moves everything, verifies it, and puts it in its place.
    ///
    /// # Errors
    /// See [`TransferError`]. What was loaded stays on the target, to be taken up again or aborted.
    pub async fn run(&self) -> Result<Fidelity, TransferError> {
        let (from, to) = tokio::join!(self.source.manifest(), self.target.manifest());
        let (from, to) = (from.map_err(TransferError::Source)?, to.map_err(TransferError::Target)?);
        let plan = Plan::new(&from, &to)?;
        let mut roots = ROOTS.to_vec();
        if from.wordpress.version != to.wordpress.version || self.core_differs(&from, &to).await? {
            roots.insert(0, Root::Core);
        }
        let mut pace = AdaptiveBatch::new(from.limits.budget_ms);
        let tables = async { self.source.all_definitions(&mut pace).await.map_err(TransferError::Source) };
        let (all, files) = tokio::try_join!(tables, self.size_of_files(&roots, &from))?;
        let tables = size_of_tables(&all);
        self.progress.expect_bytes(tables.saturating_add(files));
        self.progress.set_warnings(&plan.warnings);
        let import = self.begin(&roots, &plan, &all).await?;
        self.check_target(&import, &to).await?;
        self.check_room(&import, required_bytes(tables, files), &to).await?;
        let filled = self.fill(&import, plan, &all, (&from, &to), &roots).await;
        if filled.as_ref().is_err_and(is_spoilt) {
            // What is there cannot be built upon: another attempt begins anew.
            let _ = import.abort().await;
        }
        filled
    }

    /// Sends everything, and swaps it in.
    async fn fill(
        &self,
        import: &Import,
        plan: Plan,
        all: &[Definition],
        (from, to): (&Manifest, &Manifest),
        roots: &[Root],
    ) -> Result<Fidelity, TransferError> {
        let files = FileMove {
            source: self.source,
            import,
            budget_ms: from.limits.budget_ms,
            progress: self.progress,
            cancel: self.cancel,
        };
        let (tables, files) = tokio::try_join!(self.tables(import, &plan, all, from), files.run(roots))?;
        let mut routines = self.routines(import, &plan, all).await?;
        if self.cancel.is_cancelled() {
            return Err(TransferError::Cancelled);
        }
        self.store_sandbox_plugin(import).await?;
        import.prepare().await.map_err(TransferError::Target)?;
        self.progress.mark_target_changed();
        routines.extend(import.swap().await.map_err(TransferError::Target)?);
        if matches!(self.target_kind, TargetKind::Clone) {
            import.commit().await.map_err(TransferError::Target)?;
        }
        Ok(self.told(plan, from, to, tables, files, routines))
    }

    fn told(
        &self,
        plan: Plan,
        from: &Manifest,
        to: &Manifest,
        moved: Vec<Moved>,
        files: FilesFidelity,
        omitted_views_and_triggers: Vec<String>,
    ) -> Fidelity {
        let (mut rewritten, mut warnings) = (Report::default(), plan.warnings);
        let mut tables: Vec<TableFidelity> = Vec::new();
        for Moved { fidelity, report, too_large } in moved {
            if too_large > 0 {
                let name = &fidelity.name;
                warnings.push(format!("{too_large} values in {name} are too large to be looked into."));
            }
            if !fidelity.consistent {
                warnings.push(format!("{} changed all the time while it was read.", fidelity.name));
            }
            rewritten.merge(report);
            tables.push(fidelity);
        }
        rewritten.unreplaced_samples.truncate(LEFT_OVERS);
        tables.sort_by(|one, other| one.name.cmp(&other.name));
        Fidelity {
            source: versions_of(from),
            target: versions_of(to),
            warnings,
            tables,
            files,
            rewrite: rewritten,
            omitted_views_and_triggers,
            deactivated_plugins: plan.deactivated_plugins,
            transferred_bytes: self.progress.snapshot().bytes,
            mu_plugins_dir: mu_plugins_dir(to),
            php_memory: Memory { source: self.source.php_memory(), target: self.target.php_memory() },
        }
    }

    /// Whether WordPress' own files differ: localised and patched ones do.
    async fn core_differs(&self, from: &Manifest, to: &Manifest) -> Result<bool, TransferError> {
        let mut core = Core::default();
        let mut pages =
            self.target.index_stream(Root::Core, true, None, AdaptiveBatch::new(to.limits.budget_ms));
        while let Some(page) = pages.next().await.map_err(TransferError::Target)? {
            core.of_target(page.entries);
        }
        let mut pages =
            self.source.index_stream(Root::Core, true, None, AdaptiveBatch::new(from.limits.budget_ms));
        while let Some(page) = pages.next().await.map_err(TransferError::Source)? {
            core.of_source(&page.entries);
        }
        Ok(core.differs())
    }

    /// Bytes of all files that will travel.
    async fn size_of_files(&self, roots: &[Root], from: &Manifest) -> Result<u64, TransferError> {
        let mut bytes: u64 = 0;
        for root in roots {
            let mut pages =
                self.source.index_stream(*root, false, None, AdaptiveBatch::new(from.limits.budget_ms));
            while let Some(page) = pages.next().await.map_err(TransferError::Source)? {
                let files = page.entries.iter().filter(|entry| entry.kind == EntryKind::File);
                bytes = files.fold(bytes, |sum, file| sum.saturating_add(file.size));
            }
        }
        Ok(bytes)
    }

    /// Whether the target has room, as far as its PHP may know. A job that is taken up again has some of it there already:
    /// what it lacks, the target says.
    async fn check_room(&self, import: &Import, need: u64, to: &Manifest) -> Result<(), TransferError> {
        let free = |to: &Manifest| space_shortage(need, to.roots.values().map(|root| root.free_bytes));
        if import.info().resumed || free(to).is_none() {
            return Ok(());
        }
        // A job before this one may have ended since the target told.
        let to = self.target.manifest().await.map_err(TransferError::Target)?;
        match free(&to) {
            Some(detail) => {
                let _ = import.abort().await;
                Err(TransferError::Preflight(PreflightFailure::DiskSpace, detail))
            }
            None => Ok(()),
        }
    }

    /// Begins the job, or takes it up where rows and files were still coming. One that was further, has tables that the source
    /// has no more, or other roots (a source whose WordPress was updated in between), ends and begins anew.
    async fn begin(&self, roots: &[Root], plan: &Plan, all: &[Definition]) -> Result<Import, TransferError> {
        let options = job_options(self.target_kind, roots);
        let begin =
            || async { self.target.begin(self.job_id, &options).await.map_err(TransferError::Target) };
        let import = begin().await?;
        match (import.info().phase.as_str(), self.target_kind) {
            ("open", _) if import.info().roots == roots && !plan.misses(all, &import.info().tables) => {
                return Ok(import);
            }
            ("swapped", TargetKind::Clone) => import.commit().await.map_err(TransferError::Target)?,
            _ => restore_and_abort(&import).await?,
        }
        begin().await
    }

    /// A site of somebody's must be empty.
    async fn check_target(&self, import: &Import, to: &Manifest) -> Result<(), TransferError> {
        if matches!(self.target_kind, TargetKind::Clone) {
            return Ok(());
        }
        let content = existing_content(self.target, to).await?;
        if content.is_empty() {
            return Ok(());
        }
        // It is gone by itself after a while, and with the migrator.
        let _ = import.abort().await;
        let detail =
            format!("The target is not empty: it has {}. Nothing of it was changed.", content.join(", "));
        Err(TransferError::Preflight(PreflightFailure::TargetNotEmpty, detail))
    }

    async fn store_sandbox_plugin(&self, import: &Import) -> Result<(), TransferError> {
        let TargetKind::ExistingSite { sandbox_plugin } = self.target_kind else { return Ok(()) };
        let mut parcel = import.file_batch();
        let part = OutgoingPart {
            root: Root::MuPlugins,
            path: SANDBOX_PLUGIN_FILE.as_bytes(),
            kind: PartKind::Final,
            mode: 0o644,
            size: sandbox_plugin.len() as u64,
            mtime: 0,
            offset: 0,
        };
        parcel.part(&part, &[sandbox_plugin.as_bytes()]);
        let stored =
            import.store(parcel, &mut import.adaptive_batch()).await.map_err(TransferError::Target)?;
        match stored.rejected.first() {
            None => Ok(()),
            Some(file) => Err(TransferError::Verification(format!(
                "The target does not take the must-use plugin that keeps it harmless ({}).",
                file.field
            ))),
        }
    }

    async fn tables(
        &self,
        import: &Import,
        plan: &Plan,
        all: &[Definition],
        from: &Manifest,
    ) -> Result<Vec<Moved>, TransferError> {
        let mut moves = Vec::new();
        for definition in all {
            if let (Definition::Table(table), Some(new)) = (definition, plan.definition(definition)) {
                moves.push(self.table(import, plan, table, new, from));
            }
        }
        stream::iter(moves).buffer_unordered(TABLES).try_collect().await
    }

    async fn table(
        &self,
        import: &Import,
        plan: &Plan,
        table: &Table,
        definition: Definition,
        from: &Manifest,
    ) -> Result<Moved, TransferError> {
        let progress = import.info().tables.iter().find(|progress| progress.name == definition.name());
        let moving = TableMove {
            source: self.source,
            import,
            table,
            base: plan.base(&table.name),
            deactivated_plugins: &plan.deactivated_plugins,
            rewriter: &plan.rewriter,
            prefix: plan.prefix.as_ref(),
            fingerprint: plan.fingerprint(&definition),
            definition,
            budget_ms: from.limits.budget_ms,
            progress: self.progress,
            cancel: self.cancel,
        };
        moving.run(progress).await
    }

    /// Views and triggers; those that the target does not take are left out and named.
    async fn routines(
        &self,
        import: &Import,
        plan: &Plan,
        all: &[Definition],
    ) -> Result<Vec<String>, TransferError> {
        let mut omitted = Vec::new();
        for definition in all.iter().filter(|definition| !matches!(definition, Definition::Table(_))) {
            let defined = match plan.definition(definition) {
                Some(definition) => import.define(&definition, false).await.map(Some),
                None => Ok(None),
            };
            match defined {
                Ok(Some(_)) => {}
                Ok(None) => omitted.push(definition.name().to_owned()),
                Err(ClientError::Migrator { status: 422, .. }) => omitted.push(definition.name().to_owned()),
                Err(error) => return Err(TransferError::Target(error)),
            }
        }
        Ok(omitted)
    }
}

fn job_options(into: TargetKind<'_>, roots: &[Root]) -> JobOptions {
    let mut allow = vec![AllowedContent::Views, AllowedContent::Triggers, AllowedContent::PhpInUploads];
    let is_site = matches!(into, TargetKind::ExistingSite { .. });
    if is_site {
        allow.push(AllowedContent::SandboxPlugin);
    }
    JobOptions { allow, reversible: is_site, roots: roots.to_vec(), replace: true }
}

/// Brings back what a target had before a job, whatever its phase, and ends the job.
async fn restore_and_abort(import: &Import) -> Result<(), TransferError> {
    if matches!(import.info().phase.as_str(), "swapping" | "swapped" | "rolling_back") {
        import.rollback().await.map_err(TransferError::Target)?;
    }
    import.abort().await.map_err(TransferError::Target)
}

/// Brings back what a site had before a transfer into it, if there was one.
///
/// # Errors
/// See [`TransferError`].
pub async fn rollback(target: &Client, job: &str) -> Result<(), TransferError> {
    let import = resume_job(target, job).await?;
    restore_and_abort(&import).await
}

/// Drops what a site had before a transfer into it: the content stays for good.
///
/// # Errors
/// See [`TransferError`].
pub async fn commit(target: &Client, job: &str) -> Result<(), TransferError> {
    let import = resume_job(target, job).await?;
    let ended = match import.info().phase.as_str() {
        "swapped" | "cleaning_up" => import.commit().await,
        // Begun by this very call: it had been settled.
        _ => import.abort().await,
    };
    ended.map_err(TransferError::Target)
}

async fn resume_job(target: &Client, job: &str) -> Result<Import, TransferError> {
    let options = job_options(TargetKind::ExistingSite { sandbox_plugin: "" }, &[]);
    target.begin(job, &options).await.map_err(TransferError::Target)
}

fn mu_plugins_dir(manifest: &Manifest) -> String {
    let path = |root: &str| manifest.roots.get(root).and_then(|root| root.path.clone());
    // Where there was none it has been made, beside the plugins as a rule.
    let usual = || path("content").map(|content| format!("{content}/mu-plugins"));
    path("mu-plugins").or_else(usual).unwrap_or_default()
}

/// Whether an attempt ended in a way that the next one would meet again.
fn is_spoilt(error: &TransferError) -> bool {
    match error {
        TransferError::Verification(_) => true,
        TransferError::Target(ClientError::Migrator { status, .. }) => matches!(status, 400 | 409 | 422),
        _ => false,
    }
}
