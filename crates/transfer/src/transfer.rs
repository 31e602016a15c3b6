//! A transfer: plan, stage on the target, verify, swap.

mod tables;
mod target_job;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{AdaptiveBatch, Client, ClientError, Definition, EntryKind, Import, Manifest, Root};
use wpclone_rewrite::Report;

use crate::byte_budget::ByteBudget;
use crate::core_comparison::CoreComparison;
use crate::error::{PreflightFailure, TransferError};
use crate::fidelity::{Fidelity, FilesFidelity, Memory, SnapshotFidelity, TableFidelity};
use crate::files::FilesTransfer;
use crate::free_space::{required_bytes, size_of_tables, space_shortage};
use crate::omitted_objects::{
    add_rejected_parts, check_core_tables, rejected_objects, stored_programs, unreadable_objects,
};
use crate::plan::{CONTENT_ROOTS, Plan};
use crate::progress::TransferProgress;
use crate::table::TransferredTable;
use crate::{configuration, missing_code, other_content, uploads, versions};

pub(crate) use tables::{TableOutcome, TablesContext};
pub use target_job::{commit, rollback};

/// The longest time in which neither side brings anything new.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// How often that is checked.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The most unreplaced addresses that are reported with their context.
const MAX_SAMPLES: usize = 200;

/// The kind of site that receives the content.
#[derive(Debug, Clone, Copy)]
pub enum TargetKind<'a> {
    /// A clone. Its content is replaced, and nothing of it is kept.
    Clone {
        /// The most bytes of the disk that it may take.
        max_bytes: u64,
        /// Whether its web server does not serve a file of this path, because of its name.
        hides: fn(&[u8]) -> bool,
    },
    /// An existing WordPress, which has to be empty. Its former content is kept until [`commit`] drops it or [`rollback`]
    /// restores it.
    ExistingSite {
        /// Source of the must-use plugin that keeps the copy from mailing and calling others.
        sandbox_plugin: &'a str,
    },
}

/// The transfer of all content of a site.
pub struct Transfer<'a> {
    /// The site to read.
    pub source: &'a Client,
    /// The site to write.
    pub target: &'a Client,
    /// The kind of site to write.
    pub target_kind: TargetKind<'a>,
    /// Whether tables without the source's prefix are copied too, unless they belong to another WordPress installation.
    pub copy_unprefixed_tables: bool,
    /// The job's id on the target: 32 hex digits, the same for each attempt.
    pub job_id: &'a str,
    /// Updated during the transfer.
    pub progress: &'a TransferProgress,
    /// Cancels the transfer. Before the swap, live content of the target is not changed.
    pub cancel: &'a CancellationToken,
}

impl Transfer<'_> {
    /// Transfers all content to shadow tables and staging directories, verifies it, and swaps it in.
    ///
    /// # Errors
    /// See [`TransferError`]. What was staged stays on the target: another attempt resumes or aborts the job.
    // Boxed, so that it is compiled once, as a part of this crate, and not again in each program that awaits it.
    pub fn run(&self) -> Pin<Box<dyn Future<Output = Result<Fidelity, TransferError>> + Send + '_>> {
        Box::pin(self.run_unless_stalled())
    }

    async fn run_unless_stalled(&self) -> Result<Fidelity, TransferError> {
        let source = self.source.clone().reading_unprefixed_tables(self.copy_unprefixed_tables);
        let transfer = Transfer { source: &source, ..*self };
        tokio::select! {
            transferred = transfer.transfer() => transferred,
            () = transfer.stalled() => Err(TransferError::Stalled),
        }
    }

    /// Returns when neither side has brought anything new for [`MAX_IDLE`].
    async fn stalled(&self) {
        let progress = || (self.source.progress(), self.target.progress());
        let (mut last, mut since) = (progress(), Instant::now());
        while since.elapsed() < MAX_IDLE {
            tokio::time::sleep(IDLE_CHECK_INTERVAL).await;
            let now = progress();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    async fn transfer(&self) -> Result<Fidelity, TransferError> {
        let (from, to) = tokio::join!(self.source.manifest(), self.target.manifest());
        let (from, to) = (from.map_err(TransferError::Source)?, to.map_err(TransferError::Target)?);
        let mut plan = Plan::new(&from, &to)?;
        plan.warnings.extend(other_content::warnings(&from, self.copy_unprefixed_tables));
        let mut roots = CONTENT_ROOTS.to_vec();
        if from.wordpress.version != to.wordpress.version || self.core_differs(&from, &to).await? {
            roots.insert(0, Root::Core);
        }
        let batch_size = AdaptiveBatch::new(from.limits.budget_ms);
        let tables = async { self.source.all_definitions(batch_size).await.map_err(TransferError::Source) };
        let (all, files) = tokio::try_join!(tables, self.size_of_files(&roots, &from))?;
        check_core_tables(&plan, &all)?;
        let tables = size_of_tables(&all);
        self.progress.expect_bytes(tables.saturating_add(files));
        self.progress.set_warnings(&plan.warnings);
        let import = self.open_job(&roots, &plan, &all).await?;
        self.check_target(&import, &to).await?;
        self.check_free_space(&import, required_bytes(tables, files), &to).await?;
        let result = self.stage_and_swap(&import, plan, &all, (&from, &to), &roots, files).await;
        if result.as_ref().is_err_and(needs_restart) {
            // The staged content cannot be resumed: another attempt starts over.
            let _ = import.abort().await;
        }
        result
    }

    /// Stages and verifies everything, and swaps it in.
    async fn stage_and_swap(
        &self,
        import: &Import,
        plan: Plan,
        all: &[Definition],
        (from, to): (&Manifest, &Manifest),
        roots: &[Root],
        size_of_files: u64,
    ) -> Result<Fidelity, TransferError> {
        let files = FilesTransfer {
            source: self.source,
            import,
            rewriter: &plan.rewriter,
            budget: ByteBudget::of_files(size_of_files),
            budget_ms: from.limits.budget_ms,
            hides: match self.target_kind {
                TargetKind::Clone { hides, .. } => hides,
                // Its own server is not known.
                TargetKind::ExistingSite { .. } => |_| false,
            },
            omits_usual_uploads: configuration::is_usual_uploads_folder_taken(from, to),
            progress: self.progress,
            cancel: self.cancel,
        };
        let context = TablesContext::new(import, &plan, from, all);
        let (tables, files) = tokio::try_join!(self.tables(&context), files.run(roots))?;
        let (transferred, mut omitted) = tables.into_iter().fold(
            (Vec::new(), unreadable_objects(all)),
            |(mut transferred, mut omitted), table| {
                match table {
                    TableOutcome::Transferred(table) => transferred.push(*table),
                    TableOutcome::Omitted(object) => omitted.push(object),
                }
                (transferred, omitted)
            },
        );
        let others = self.other_objects(&context, &omitted).await?;
        omitted.extend(others);
        if self.cancel.is_cancelled() {
            return Err(TransferError::Cancelled);
        }
        let last_pass = self.last_pass(&context, transferred).await?;
        let (transferred, snapshot) = (last_pass.tables, last_pass.fidelity);
        omitted.extend(last_pass.omitted);
        self.store_sandbox_plugin(import).await?;
        import.prepare().await.map_err(TransferError::Target)?;
        self.progress.mark_target_changed();
        let rejected = import.swap().await.map_err(TransferError::Target)?;
        omitted.extend(rejected_objects(all, &rejected));
        if matches!(self.target_kind, TargetKind::Clone { .. }) {
            import.commit().await.map_err(TransferError::Target)?;
        }
        let copy = self.target.manifest().await;
        let lacking: Vec<String> = match &copy {
            Ok(copy) => {
                let code = missing_code::warnings(from, copy, &plan.deactivated_plugins);
                code.into_iter().chain(uploads::warnings(from, to, copy)).collect()
            }
            // Whoever opens the copy will see why.
            Err(error) => vec![format!("The copy does not report which plugins are active: {error}.")],
        };
        let addresses = plan.addresses_in_definitions(all);
        let mut report = self.report(plan, from, to, transferred, files);
        report.rewrite.merge(addresses);
        report.rewrite.unreplaced_samples.truncate(MAX_SAMPLES);
        report.warnings.splice(0..0, lacking);
        report.warnings.extend(snapshot.warnings());
        report.snapshot = snapshot;
        // Its WordPress may have been replaced.
        match &copy {
            Ok(copy) => report.target = versions::of(copy),
            Err(_) if roots.contains(&Root::Core) => {
                report.target.wordpress.clone_from(&report.source.wordpress);
            }
            Err(_) => {}
        }
        add_rejected_parts(&mut report.tables, &rejected);
        report.omit(omitted);
        report.omit_programs(stored_programs(all));
        report.warn_of_adjustments();
        Ok(report)
    }

    fn report(
        &self,
        plan: Plan,
        from: &Manifest,
        to: &Manifest,
        transferred: Vec<TransferredTable>,
        files: FilesFidelity,
    ) -> Fidelity {
        let (mut rewritten, mut warnings) = (Report::default(), plan.warnings);
        let mut tables: Vec<TableFidelity> = Vec::new();
        for TransferredTable { fidelity, report, skipped_large_values, .. } in transferred {
            if skipped_large_values > 0 {
                let name = &fidelity.name;
                warnings
                    .push(format!("{skipped_large_values} values in {name} are too large to be rewritten."));
            }
            if fidelity.constraint_conflicts > 0 {
                warnings.push(format!(
                    "{} rows of {} keep an old address: with the new one they would equal another row in a unique index, or violate a \
                     check.",
                    fidelity.constraint_conflicts, fidelity.name
                ));
            }
            if !fidelity.consistent {
                warnings.push(format!("{} changed each time it was read.", fidelity.name));
            }
            rewritten.merge(report);
            tables.push(fidelity);
        }
        warnings.extend(files.address_warnings());
        tables.sort_by(|one, other| one.name.cmp(&other.name));
        Fidelity {
            source: versions::of(from),
            target: versions::of(to),
            warnings,
            tables,
            snapshot: SnapshotFidelity::default(),
            files,
            rewrite: rewritten,
            omitted_views_and_triggers: Vec::new(),
            omitted_tables: Vec::new(),
            omitted_objects: BTreeMap::new(),
            omitted_programs: Vec::new(),
            unprefixed_tables: from.unprefixed_tables.clone(),
            deactivated_plugins: plan.deactivated_plugins,
            transferred_bytes: self.progress.snapshot().bytes,
            mu_plugins_dir: mu_plugins_dir(to),
            php_memory: Memory { source: self.source.php_memory(), target: self.target.php_memory() },
            truncated: false,
        }
    }

    /// Whether the WordPress core files differ, as localised and patched ones do.
    async fn core_differs(&self, from: &Manifest, to: &Manifest) -> Result<bool, TransferError> {
        let mut core = CoreComparison::default();
        let mut pages =
            self.target.index_stream(Root::Core, true, None, AdaptiveBatch::new(to.limits.budget_ms));
        while let Some(page) = pages.next().await.map_err(TransferError::Target)? {
            core.add_target(page.entries);
            if core.is_full() {
                return Ok(true);
            }
        }
        let mut pages =
            self.source.index_stream(Root::Core, true, None, AdaptiveBatch::new(from.limits.budget_ms));
        while let Some(page) = pages.next().await.map_err(TransferError::Source)? {
            core.add_source(&page.entries);
            if core.is_full() {
                return Ok(true);
            }
        }
        Ok(core.differs())
    }

    /// Size of all files to transfer.
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

    /// Fails if the target has too little free space, as far as its PHP reports it. A resumed job is not checked, because a
    /// part of the content is there already; the target responds with 507 if its disk is full.
    async fn check_free_space(&self, import: &Import, need: u64, to: &Manifest) -> Result<(), TransferError> {
        let free = |to: &Manifest| space_shortage(need, to.roots.values().map(|root| root.free_bytes));
        if import.info().resumed {
            return Ok(());
        }
        if let TargetKind::Clone { max_bytes, .. } = self.target_kind
            && need > max_bytes
        {
            let _ = import.abort().await;
            let detail =
                format!("The source's content needs {need} bytes, and a clone may take {max_bytes}.");
            return Err(TransferError::Preflight(PreflightFailure::DiskSpace, detail));
        }
        if free(to).is_none() {
            return Ok(());
        }
        // An earlier job may have been cleaned up since the manifest was read.
        let to = self.target.manifest().await.map_err(TransferError::Target)?;
        match free(&to) {
            Some(detail) => {
                let _ = import.abort().await;
                Err(TransferError::Preflight(PreflightFailure::DiskSpace, detail))
            }
            None => Ok(()),
        }
    }
}

fn mu_plugins_dir(manifest: &Manifest) -> String {
    let path = |root: &str| manifest.roots.get(root).and_then(|root| root.path.clone());
    // If there was none it has been created, by default beside the plugins.
    let usual = || path("content").map(|content| format!("{content}/mu-plugins"));
    path("mu-plugins").or_else(usual).unwrap_or_default()
}

/// Whether a resumed attempt would fail in the same way.
fn needs_restart(error: &TransferError) -> bool {
    match error.cause() {
        TransferError::Verification(_) | TransferError::TableChanged(_) => true,
        TransferError::Target(ClientError::Migrator { status, .. }) => matches!(status, 400 | 409 | 422),
        _ => false,
    }
}
