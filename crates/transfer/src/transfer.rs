//! A transfer from its first look at both sides to the swap.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    AdaptiveBatch, AllowedContent, Client, ClientError, Definition, EntryKind, Import, JobOptions, Manifest,
    OutgoingPart, PartKind, Root, SANDBOX_PLUGIN_FILE, Table,
};
use wpclone_rewrite::Report;

use crate::empty::content_of;
use crate::error::{Obstacle, TransferError};
use crate::fidelity::{Fidelity, FilesFidelity, Memory, TableFidelity};
use crate::files::FileMove;
use crate::meter::Meter;
use crate::plan::{Core, Plan, ROOTS, versions_of};
use crate::room::{lack, room_for, size_of_tables};
use crate::table::{Moved, TableMove};

/// Tables in flight. With the files that makes less requests at a time than a migrator takes.
const TABLES: usize = 2;
/// The most left-overs that are told with their context.
const LEFT_OVERS: usize = 200;

/// What content goes into.
#[derive(Debug, Clone, Copy)]
pub enum Receiver<'a> {
    /// A clone of ours: whatever is there is replaced.
    Clone,
    /// An empty WordPress of somebody's. What it had is kept until [`settle`](crate::settle) drops it, or
    /// [`take_back`](crate::take_back) brings it back.
    Site {
        /// The must-use plugin that keeps the copy harmless.
        harmless: &'a str,
    },
}

/// A transfer of all content of a site.
pub struct Transfer<'a> {
    /// Where content comes from.
    pub source: &'a Client,
    /// Where it goes to.
    pub target: &'a Client,
    /// What that is.
    pub into: Receiver<'a>,
    /// What it is called on the target: 32 hex digits, the same when it is taken up again.
    pub job: &'a str,
    /// How far it is.
    pub meter: &'a Meter,
    /// Cancelled when it is to stop. Nothing of the target that was live has been touched before the swap.
    pub stop: &'a CancellationToken,
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
        self.meter.expect(tables.saturating_add(files));
        self.meter.warn(&plan.warnings);
        let import = self.begin(&roots, &plan, &all).await?;
        self.check_target(&import, &to).await?;
        self.check_room(&import, room_for(tables, files), &to).await?;
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
            meter: self.meter,
            stop: self.stop,
        };
        let (tables, files) = tokio::try_join!(self.tables(import, &plan, all, from), files.run(roots))?;
        let mut routines = self.routines(import, &plan, all).await?;
        if self.stop.is_cancelled() {
            return Err(TransferError::Stopped);
        }
        self.put_harmless(import).await?;
        import.prepare().await.map_err(TransferError::Target)?;
        self.meter.touch();
        routines.extend(import.swap().await.map_err(TransferError::Target)?);
        if matches!(self.into, Receiver::Clone) {
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
        routines_left_out: Vec<String>,
    ) -> Fidelity {
        let (mut rewritten, mut warnings) = (Report::default(), plan.warnings);
        let mut tables: Vec<TableFidelity> = Vec::new();
        for Moved { fidelity, report, too_large } in moved {
            if too_large > 0 {
                let name = &fidelity.name;
                warnings.push(format!("{too_large} values in {name} are too large to be looked into."));
            }
            if !fidelity.settled {
                warnings.push(format!("{} changed all the time while it was read.", fidelity.name));
            }
            rewritten.absorb(report);
            tables.push(fidelity);
        }
        rewritten.left_overs.truncate(LEFT_OVERS);
        tables.sort_by(|one, other| one.name.cmp(&other.name));
        Fidelity {
            source: versions_of(from),
            target: versions_of(to),
            warnings,
            tables,
            files,
            rewritten,
            routines_left_out,
            switched_off: plan.switched_off,
            moved_bytes: self.meter.read().bytes,
            must_use_folder: must_use_folder(to),
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
        let free = |to: &Manifest| lack(need, to.roots.values().map(|root| root.free_bytes));
        if import.info().resumed || free(to).is_none() {
            return Ok(());
        }
        // A job before this one may have ended since the target told.
        let to = self.target.manifest().await.map_err(TransferError::Target)?;
        match free(&to) {
            Some(detail) => {
                let _ = import.abort().await;
                Err(TransferError::Impossible(Obstacle::NoSpace, detail))
            }
            None => Ok(()),
        }
    }

    /// Begins the job, or takes it up where rows and files were still coming. One that was further, has tables that the source
    /// has no more, or other roots (a source whose WordPress was updated in between), ends and begins anew.
    async fn begin(&self, roots: &[Root], plan: &Plan, all: &[Definition]) -> Result<Import, TransferError> {
        let options = job_options(self.into, roots);
        let begin = || async { self.target.begin(self.job, &options).await.map_err(TransferError::Target) };
        let import = begin().await?;
        match (import.info().phase.as_str(), self.into) {
            ("open", _) if import.info().roots == roots && !plan.misses(all, &import.info().tables) => {
                return Ok(import);
            }
            ("swapped", Receiver::Clone) => import.commit().await.map_err(TransferError::Target)?,
            _ => taken_back(&import).await?,
        }
        begin().await
    }

    /// A site of somebody's must be empty.
    async fn check_target(&self, import: &Import, to: &Manifest) -> Result<(), TransferError> {
        if matches!(self.into, Receiver::Clone) {
            return Ok(());
        }
        let content = content_of(self.target, to).await?;
        if content.is_empty() {
            return Ok(());
        }
        // It is gone by itself after a while, and with the migrator.
        let _ = import.abort().await;
        let detail =
            format!("The target is not empty: it has {}. Nothing of it was changed.", content.join(", "));
        Err(TransferError::Impossible(Obstacle::NotEmpty, detail))
    }

    async fn put_harmless(&self, import: &Import) -> Result<(), TransferError> {
        let Receiver::Site { harmless } = self.into else { return Ok(()) };
        let mut parcel = import.file_batch();
        let part = OutgoingPart {
            root: Root::MuPlugins,
            path: SANDBOX_PLUGIN_FILE.as_bytes(),
            kind: PartKind::Final,
            mode: 0o644,
            size: harmless.len() as u64,
            mtime: 0,
            offset: 0,
        };
        parcel.part(&part, &[harmless.as_bytes()]);
        let stored =
            import.store(parcel, &mut import.adaptive_batch()).await.map_err(TransferError::Target)?;
        match stored.rejected.first() {
            None => Ok(()),
            Some(file) => Err(TransferError::Differs(format!(
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
            switched_off: &plan.switched_off,
            rewriter: &plan.rewriter,
            prefix: plan.prefix.as_ref(),
            print: plan.print(&definition),
            definition,
            budget_ms: from.limits.budget_ms,
            meter: self.meter,
            stop: self.stop,
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
        let mut left_out = Vec::new();
        for definition in all.iter().filter(|definition| !matches!(definition, Definition::Table(_))) {
            let defined = match plan.definition(definition) {
                Some(definition) => import.define(&definition, false).await.map(Some),
                None => Ok(None),
            };
            match defined {
                Ok(Some(_)) => {}
                Ok(None) => left_out.push(definition.name().to_owned()),
                Err(ClientError::Migrator { status: 422, .. }) => left_out.push(definition.name().to_owned()),
                Err(error) => return Err(TransferError::Target(error)),
            }
        }
        Ok(left_out)
    }
}

fn job_options(into: Receiver<'_>, roots: &[Root]) -> JobOptions {
    let mut allow = vec![AllowedContent::Views, AllowedContent::Triggers, AllowedContent::PhpInUploads];
    let is_site = matches!(into, Receiver::Site { .. });
    if is_site {
        allow.push(AllowedContent::SandboxPlugin);
    }
    JobOptions { allow, reversible: is_site, roots: roots.to_vec(), replace: true }
}

/// Brings back what a target had before a job, whatever its phase, and ends the job.
async fn taken_back(import: &Import) -> Result<(), TransferError> {
    if matches!(import.info().phase.as_str(), "swapping" | "swapped" | "rolling_back") {
        import.rollback().await.map_err(TransferError::Target)?;
    }
    import.abort().await.map_err(TransferError::Target)
}

/// Brings back what a site had before a transfer into it, if there was one.
///
/// # Errors
/// See [`TransferError`].
pub async fn take_back(target: &Client, job: &str) -> Result<(), TransferError> {
    let import = again(target, job).await?;
    taken_back(&import).await
}

/// Drops what a site had before a transfer into it: the content stays for good.
///
/// # Errors
/// See [`TransferError`].
pub async fn settle(target: &Client, job: &str) -> Result<(), TransferError> {
    let import = again(target, job).await?;
    let ended = match import.info().phase.as_str() {
        "swapped" | "cleaning_up" => import.commit().await,
        // Begun by this very call: it had been settled.
        _ => import.abort().await,
    };
    ended.map_err(TransferError::Target)
}

async fn again(target: &Client, job: &str) -> Result<Import, TransferError> {
    let options = job_options(Receiver::Site { harmless: "" }, &[]);
    target.begin(job, &options).await.map_err(TransferError::Target)
}

fn must_use_folder(manifest: &Manifest) -> String {
    let path = |root: &str| manifest.roots.get(root).and_then(|root| root.path.clone());
    // Where there was none it has been made, beside the plugins as a rule.
    let usual = || path("content").map(|content| format!("{content}/mu-plugins"));
    path("mu-plugins").or_else(usual).unwrap_or_default()
}

/// Whether an attempt ended in a way that the next one would meet again.
fn is_spoilt(error: &TransferError) -> bool {
    match error {
        TransferError::Differs(_) => true,
        TransferError::Target(ClientError::Migrator { status, .. }) => matches!(status, 400 | 409 | 422),
        _ => false,
    }
}
