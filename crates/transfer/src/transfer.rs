//! A transfer: plan, stage on the target, verify, swap.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    AdaptiveBatch, Adjustment, AllowedContent, Client, ClientError, Definition, EntryKind, Import,
    JobOptions, Manifest, OutgoingPart, PartKind, Root, SANDBOX_PLUGIN_FILE, Table,
};
use wpclone_rewrite::Report;

use crate::configuration;
use crate::error::{PreflightFailure, TransferError};
use crate::existing_content::existing_content;
use crate::fidelity::{Fidelity, FilesFidelity, Memory, OmittedObject, SnapshotFidelity, TableFidelity};
use crate::files::FilesTransfer;
use crate::last_pass::Transferred;
use crate::free_space::{required_bytes, size_of_tables, space_shortage};
use crate::missing_code;
use crate::other_content;
use crate::omitted_objects::{
    add_rejected_parts, check_core_tables, reason, rejected_objects, unreadable_objects,
};
use crate::plan::{CONTENT_ROOTS, CoreComparison, Plan, versions_of};
use crate::progress::TransferProgress;
use crate::table::{TableTransfer, TransferredTable};
use crate::unsupported::without_dangling_foreign_keys;
use crate::uploads;

/// The longest time in which neither side brings anything new.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// How often that is checked.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Tables transferred at the same time. With the files, this stays below the request limit of a migrator.
const CONCURRENT_TABLES: usize = 2;
/// Why a table without the source's prefix is not copied.
const NAME_IS_TAKEN: &str = "its name has the target's table prefix";
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
    pub async fn run(&self) -> Result<Fidelity, TransferError> {
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
        let mut batch_size = AdaptiveBatch::new(from.limits.budget_ms);
        let tables =
            async { self.source.all_definitions(&mut batch_size).await.map_err(TransferError::Source) };
        let (all, files) = tokio::try_join!(tables, self.size_of_files(&roots, &from))?;
        check_core_tables(&plan, &all)?;
        let tables = size_of_tables(&all);
        self.progress.expect_bytes(tables.saturating_add(files));
        self.progress.set_warnings(&plan.warnings);
        let import = self.open_job(&roots, &plan, &all).await?;
        self.check_target(&import, &to).await?;
        self.check_free_space(&import, required_bytes(tables, files), &to).await?;
        let result = self.stage_and_swap(&import, plan, &all, (&from, &to), &roots).await;
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
    ) -> Result<Fidelity, TransferError> {
        let files = FilesTransfer {
            source: self.source,
            import,
            rewriter: &plan.rewriter,
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
        let (tables, files) = tokio::try_join!(self.tables(import, &plan, all, from), files.run(roots))?;
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
        omitted.extend(self.other_objects(import, &plan, all).await?);
        if self.cancel.is_cancelled() {
            return Err(TransferError::Cancelled);
        }
        let (transferred, snapshot) = self.take_snapshot(transferred, from.limits.budget_ms).await?;
        self.store_sandbox_plugin(import).await?;
        import.prepare().await.map_err(TransferError::Target)?;
        self.progress.mark_target_changed();
        let rejected = import.swap().await.map_err(TransferError::Target)?;
        omitted.extend(rejected_objects(all, &rejected));
        if matches!(self.target_kind, TargetKind::Clone { .. }) {
            import.commit().await.map_err(TransferError::Target)?;
        }
        let copy = self.target.manifest().await;
        let lacking = match &copy {
            Ok(copy) => {
                let code = missing_code::warnings(from, copy, &plan.deactivated_plugins);
                code.into_iter().chain(uploads::warnings(from, to, copy)).collect()
            }
            // Whoever opens the copy will see why.
            Err(error) => vec![format!("The copy does not report which plugins are active: {error}.")],
        };
        let mut plan = plan;
        plan.warnings.splice(0..0, lacking);
        let mut report = self.report(plan, from, to, transferred, files);
        report.warnings.extend(snapshot.warnings());
        report.snapshot = snapshot;
        // Its WordPress may have been replaced.
        match &copy {
            Ok(copy) => report.target = versions_of(copy),
            Err(_) if roots.contains(&Root::Core) => {
                report.target.wordpress.clone_from(&report.source.wordpress);
            }
            Err(_) => {}
        }
        add_rejected_parts(&mut report.tables, &rejected);
        report.omit(omitted);
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
            if fidelity.unique_conflicts > 0 {
                warnings.push(format!(
                    "{} rows of {} keep an old address: in a unique index another row has the new one.",
                    fidelity.unique_conflicts, fidelity.name
                ));
            }
            if !fidelity.consistent {
                warnings.push(format!("{} changed each time it was read.", fidelity.name));
            }
            rewritten.merge(report);
            tables.push(fidelity);
        }
        rewritten.unreplaced_samples.truncate(MAX_SAMPLES);
        warnings.extend(files.address_warning());
        tables.sort_by(|one, other| one.name.cmp(&other.name));
        Fidelity {
            source: versions_of(from),
            target: versions_of(to),
            warnings,
            tables,
            snapshot: SnapshotFidelity::default(),
            files,
            rewrite: rewritten,
            omitted_views_and_triggers: Vec::new(),
            omitted_tables: Vec::new(),
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

    /// Opens a new job, or resumes one that was still receiving rows and files. A job in a later phase, with tables that the
    /// source no longer has, or with other roots (the source's WordPress was updated) is ended and a new one opened.
    async fn open_job(
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
    async fn check_target(&self, import: &Import, to: &Manifest) -> Result<(), TransferError> {
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

    async fn store_sandbox_plugin(&self, import: &Import) -> Result<(), TransferError> {
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

    async fn tables<'t>(
        &'t self,
        import: &'t Import,
        plan: &'t Plan,
        all: &'t [Definition],
        from: &Manifest,
    ) -> Result<Vec<TableOutcome<'t>>, TransferError> {
        let readable = all.iter().filter(|definition| matches!(definition, Definition::Table(_)));
        let names: Vec<Definition> = readable.filter_map(|definition| plan.definition(definition)).collect();
        let names: HashSet<&str> = names.iter().map(Definition::name).collect();
        let (mut transfers, mut outcomes) = (Vec::new(), Vec::new());
        for definition in all {
            match (definition, plan.definition(definition)) {
                (Definition::Table(table), Some(Definition::Table(mut new))) => {
                    let adjustments = without_dangling_foreign_keys(&mut new, &names);
                    let new = (Definition::Table(new), adjustments);
                    transfers.push(self.table(import, plan, table, new, from));
                }
                (Definition::Table(table), _) => {
                    let omitted = OmittedObject::new("table", &table.name, NAME_IS_TAKEN);
                    outcomes.push(TableOutcome::Omitted(omitted));
                }
                _ => {}
            }
        }
        let transferred = stream::iter(transfers).buffer_unordered(CONCURRENT_TABLES);
        outcomes.extend(transferred.try_collect::<Vec<_>>().await?);
        Ok(outcomes)
    }

    async fn table<'t>(
        &'t self,
        import: &'t Import,
        plan: &'t Plan,
        table: &'t Table,
        (definition, adjustments): (Definition, Vec<Adjustment>),
        from: &Manifest,
    ) -> Result<TableOutcome<'t>, TransferError> {
        let progress = import.info().tables.iter().find(|progress| progress.name == definition.name());
        let transfer = TableTransfer {
            source: self.source,
            import,
            table,
            base: plan.base(&table.name),
            deactivated_plugins: &plan.deactivated_plugins,
            own_options: &plan.own_options,
            rewriter: &plan.rewriter,
            prefix: plan.prefix.as_ref(),
            fingerprint: plan.fingerprint(&definition),
            definition,
            adjustments,
            same_server: plan.same_server,
            budget_ms: from.limits.budget_ms,
            progress: self.progress,
            cancel: self.cancel,
        };
        match transfer.run(progress).await {
            Ok(transferred) => Ok(TableOutcome::Transferred(Box::new((transfer, transferred)))),
            Err(error) if error.is_about_content() && !plan.is_core_table(&table.name) => {
                // What the source cannot read or the target cannot define is left out, and the rest arrives.
                import.omit(transfer.definition.name()).await.map_err(TransferError::Target)?;
                Ok(TableOutcome::Omitted(OmittedObject::new("table", &table.name, reason(&error))))
            }
            Err(error) => Err(error.of_table(&table.name)),
        }
    }

    /// Creates views, triggers and sequences, and returns those that the target rejected.
    async fn other_objects(
        &self,
        import: &Import,
        plan: &Plan,
        all: &[Definition],
    ) -> Result<Vec<OmittedObject>, TransferError> {
        let mut omitted = Vec::new();
        let others = all
            .iter()
            .filter(|definition| !matches!(definition, Definition::Table(_) | Definition::Unreadable(_)));
        for definition in others {
            let mut omit = |reason: &dyn std::fmt::Display| {
                omitted.push(OmittedObject::new(definition.object(), definition.name(), reason));
            };
            let Some(adapted) = plan.definition(definition) else {
                let is_sql = matches!(definition, Definition::View(_) | Definition::Trigger(_));
                omit(&if is_sql { "its text has the source's table prefix" } else { NAME_IS_TAKEN });
                continue;
            };
            match import.define(&adapted, false).await {
                Ok(_) => {}
                Err(error) if error.is_about_content() => omit(&reason(&TransferError::Target(error))),
                Err(error) => return Err(TransferError::Target(error)),
            }
        }
        Ok(omitted)
    }
}

/// What became of a table.
enum TableOutcome<'t> {
    Transferred(Box<Transferred<'t>>),
    Omitted(OmittedObject),
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

fn mu_plugins_dir(manifest: &Manifest) -> String {
    let path = |root: &str| manifest.roots.get(root).and_then(|root| root.path.clone());
    // If there was none it has been created, by default beside the plugins.
    let usual = || path("content").map(|content| format!("{content}/mu-plugins"));
    path("mu-plugins").or_else(usual).unwrap_or_default()
}

/// Whether a resumed attempt would fail in the same way.
fn needs_restart(error: &TransferError) -> bool {
    match error.cause() {
        TransferError::Verification(_) => true,
        TransferError::Target(ClientError::Migrator { status, .. }) => matches!(status, 400 | 409 | 422),
        _ => false,
    }
}
