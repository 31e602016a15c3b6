//! A transfer from its first look at both sides to the swap.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    Allowed, Client, ClientError, Definition, Import, JobOptions, Manifest, Pace, Root, Table,
};
use wpclone_rewrite::Report;

use crate::error::{Obstacle, TransferError};
use crate::fidelity::{Fidelity, FilesFidelity, TableFidelity};
use crate::files::FileMove;
use crate::meter::Meter;
use crate::plan::{Core, Plan, ROOTS, versions_of};
use crate::table::{Moved, TableMove};

/// Tables in flight. With the files that makes less requests at a time than a migrator takes.
const TABLES: usize = 2;
/// The most left-overs that are told with their context.
const LEFT_OVERS: usize = 200;

/// A transfer of all content into a clone.
pub struct Transfer<'a> {
    /// Where content comes from.
    pub source: &'a Client,
    /// Where it goes to; all that is there is replaced.
    pub target: &'a Client,
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
        let all = self.source.all_tables(&mut Pace::new(from.limits.budget_ms)).await;
        let all = all.map_err(TransferError::Source)?;
        self.check_room(&all, &to)?;
        let import = self.begin(&roots, &plan, &all).await?;
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
        import.seal().await.map_err(TransferError::Target)?;
        routines.extend(import.swap().await.map_err(TransferError::Target)?);
        import.forget().await.map_err(TransferError::Target)?;
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
            moved_bytes: self.meter.read().bytes,
        }
    }

    /// Whether WordPress' own files differ: localised and patched ones do.
    async fn core_differs(&self, from: &Manifest, to: &Manifest) -> Result<bool, TransferError> {
        let mut core = Core::default();
        let mut pages = self.target.all_files(Root::Core, true, None, Pace::new(to.limits.budget_ms));
        while let Some(page) = pages.next().await.map_err(TransferError::Target)? {
            core.of_target(page.entries);
        }
        let mut pages = self.source.all_files(Root::Core, true, None, Pace::new(from.limits.budget_ms));
        while let Some(page) = pages.next().await.map_err(TransferError::Source)? {
            core.of_source(&page.entries);
        }
        Ok(core.differs())
    }

    /// Twice what the tables have: once loaded, and once live. Files are counted as they come.
    fn check_room(&self, all: &[Definition], to: &Manifest) -> Result<(), TransferError> {
        let bytes = |definition: &Definition| match definition {
            Definition::Table(table) => table.data_bytes + table.index_bytes,
            _ => 0,
        };
        let need: u64 = all.iter().map(bytes).sum();
        self.meter.expect(need);
        let free = to.roots.values().filter_map(|root| root.free_bytes).min();
        match free {
            Some(have) if have < need.saturating_mul(2) => Err(TransferError::Impossible(
                Obstacle::NoSpace,
                format!("The tables need {} bytes on the target's disk, and {have} are free.", need * 2),
            )),
            _ => Ok(()),
        }
    }

    /// Begins the job, or takes it up where rows and files were still coming. One that was further, or has tables that the
    /// source has no more, ends and begins anew.
    async fn begin(&self, roots: &[Root], plan: &Plan, all: &[Definition]) -> Result<Import, TransferError> {
        let options = JobOptions {
            allow: vec![Allowed::Views, Allowed::Triggers, Allowed::PhpInUploads],
            undo: false,
            roots: roots.to_vec(),
            replace: true,
        };
        let begin = || async { self.target.begin(self.job, &options).await.map_err(TransferError::Target) };
        let import = begin().await?;
        let ended = match import.begun().phase.as_str() {
            "open" if !plan.misses(all, &import.begun().tables) => return Ok(import),
            "swapping" | "undoing" => match import.undo().await {
                Ok(()) => import.abort().await,
                error => error,
            },
            "swapped" => import.forget().await,
            _ => import.abort().await,
        };
        ended.map_err(TransferError::Target)?;
        begin().await
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
        let progress = import.begun().tables.iter().find(|progress| progress.name == definition.name());
        let moving = TableMove {
            source: self.source,
            import,
            table,
            definition,
            base: plan.base(&table.name),
            rewriter: &plan.rewriter,
            prefix: plan.prefix.as_ref(),
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
                Err(ClientError::Trouble { status: 422, .. }) => left_out.push(definition.name().to_owned()),
                Err(error) => return Err(TransferError::Target(error)),
            }
        }
        Ok(left_out)
    }
}

/// Whether an attempt ended in a way that the next one would meet again.
fn is_spoilt(error: &TransferError) -> bool {
    match error {
        TransferError::Differs(_) => true,
        TransferError::Target(ClientError::Trouble { status, .. }) => matches!(status, 400 | 409 | 422),
        _ => false,
    }
}
