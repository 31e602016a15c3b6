//! The tables, views, triggers and sequences of a transfer.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use wpclone_migrator::{AdaptiveBatch, Definition, Import, Manifest, Table, TableProgress};

use super::{MAX_SAMPLES, Transfer};
use crate::byte_budget::ByteBudget;
use crate::constrained_columns::{ReferredColumns, columns_of_foreign_keys, referred_columns};
use crate::error::TransferError;
use crate::free_space::size_of_tables;
use crate::last_pass::Transferred;
use crate::omitted_objects::{OmittedObject, reason};
use crate::plan::Plan;
use crate::table::TableTransfer;
use crate::trigger_references::MissingObjects;
use crate::unsupported::without_dangling_foreign_keys;

/// Tables transferred at the same time. With the files, this stays below the request limit of a migrator.
const CONCURRENT_TABLES: usize = 2;
/// With how many definitions a table is read that is altered meanwhile.
const MAX_DEFINITIONS: u32 = 3;
/// In how many lists of the source a table is missing that it has dropped. A database does not list one while it is altered.
const MAX_LISTS: u32 = 3;
/// Why a table is not copied that the source had at first.
const DROPPED: &str = "the source has dropped it meanwhile";
/// Why a table without the source's prefix is not copied.
const NAME_IS_TAKEN: &str = "in the copy its name would be that of a table of WordPress";

/// What became of a table.
pub(crate) enum TableOutcome<'t> {
    Transferred(Box<Transferred<'t>>),
    Omitted(OmittedObject),
}

/// What the transfers of all tables have in common.
pub(crate) struct TablesContext<'t> {
    pub(crate) import: &'t Import,
    pub(crate) plan: &'t Plan,
    /// The manifest of the source.
    pub(crate) from: &'t Manifest,
    /// The definitions of the source, at first.
    pub(crate) all: &'t [Definition],
    /// The names that the tables which the source can read have on the target.
    names: HashSet<String>,
    referred: ReferredColumns,
    /// For the rows of all tables, however often each is read.
    budget: ByteBudget,
    samples: SampleBudget,
}

/// How many unreplaced addresses of all tables may still be kept with their context: a site may have very many tables.
struct SampleBudget(AtomicUsize);

impl SampleBudget {
    /// Takes as many as there are left, at most so many.
    fn take(&self, wanted: usize) -> usize {
        let rest = |left: usize| Some(left.saturating_sub(wanted));
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).unwrap_or_default();
        left.min(wanted)
    }
}

impl<'t> TablesContext<'t> {
    pub(crate) fn new(import: &'t Import, plan: &'t Plan, from: &'t Manifest, all: &'t [Definition]) -> Self {
        let readable = all.iter().filter(|definition| matches!(definition, Definition::Table(_)));
        let names = readable.filter_map(|definition| Some(plan.definition(definition)?.name().to_owned()));
        Self {
            import,
            plan,
            from,
            all,
            names: names.collect(),
            referred: referred_columns(all),
            budget: ByteBudget::of_rows(size_of_tables(all)),
            samples: SampleBudget(AtomicUsize::new(MAX_SAMPLES)),
        }
    }
}

impl Transfer<'_> {
    /// Transfers the tables, some at the same time.
    pub(super) async fn tables<'t>(
        &'t self,
        context: &'t TablesContext<'t>,
    ) -> Result<Vec<TableOutcome<'t>>, TransferError> {
        let (mut transfers, mut outcomes) = (Vec::new(), Vec::new());
        let known = context.import.info().tables.iter().map(|progress| (progress.name.as_str(), progress));
        let known: HashMap<&str, &TableProgress> = known.collect();
        for definition in context.all {
            let Definition::Table(table) = definition else { continue };
            match context.plan.definition(definition) {
                Some(new) => {
                    let progress = known.get(new.name()).copied();
                    let base = context.plan.base(&table.name);
                    let transfer = self.table_transfer(context, Cow::Borrowed(table), base, new);
                    transfers.push(self.table(context, transfer, progress));
                }
                None => {
                    let omitted = OmittedObject::new("table", &table.name, NAME_IS_TAKEN);
                    outcomes.push(TableOutcome::Omitted(omitted));
                }
            }
        }
        let transferred = stream::iter(transfers).buffer_unordered(CONCURRENT_TABLES);
        outcomes.extend(transferred.try_collect::<Vec<_>>().await?);
        Ok(outcomes)
    }

    /// The transfer of a table with a definition for the target.
    fn table_transfer<'t>(
        &'t self,
        context: &'t TablesContext<'t>,
        table: Cow<'t, Table>,
        base: &'t str,
        mut definition: Definition,
    ) -> TableTransfer<'t> {
        let TablesContext { import, plan, from, names, referred, budget, .. } = context;
        let adjustments = match &mut definition {
            Definition::Table(new) => without_dangling_foreign_keys(new, names),
            _ => Vec::new(),
        };
        TableTransfer {
            source: self.source,
            import,
            in_foreign_key: columns_of_foreign_keys(&table, referred),
            table,
            base,
            deactivated_plugins: &plan.deactivated_plugins,
            own_options: &plan.own_options,
            rewriter: &plan.rewriter,
            prefix: plan.prefix.as_ref(),
            fingerprint: plan.fingerprint(&definition),
            definition,
            adjustments,
            same_server: plan.same_server,
            budget,
            budget_ms: from.limits.budget_ms,
            progress: self.progress,
            cancel: self.cancel,
        }
    }

    /// Transfers a table. If its definition changes meanwhile it is transferred with the new one, [`MAX_DEFINITIONS`] in all.
    pub(crate) async fn table<'t>(
        &'t self,
        context: &'t TablesContext<'t>,
        mut transfer: TableTransfer<'t>,
        mut progress: Option<&TableProgress>,
    ) -> Result<TableOutcome<'t>, TransferError> {
        let plan = context.plan;
        let mut definitions = 0;
        loop {
            definitions += 1;
            let error = match transfer.run(progress.take()).await {
                Ok(mut transferred) => {
                    transferred
                        .keep_samples(context.samples.take(transferred.report.unreplaced_samples.len()));
                    return Ok(TableOutcome::Transferred(Box::new((transfer, transferred))));
                }
                Err(error) if error.is_about_table() => error,
                Err(error) => return Err(error.of_table(&transfer.table.name)),
            };
            // Rows of another definition are also what the target does not accept.
            let now = self.definition_now(&transfer.table.name, context.from).await?;
            let why = if now.is_some() { reason(&error) } else { DROPPED.to_owned() };
            let adapted = now.as_ref().and_then(|now| plan.definition(now));
            if let (Some(Definition::Table(now)), Some(adapted)) = (now, adapted)
                && definitions < MAX_DEFINITIONS
            {
                let next = self.table_transfer(context, Cow::Owned(now), transfer.base, adapted);
                if next.fingerprint != transfer.fingerprint {
                    tracing::info!(table = next.table.name, "the table is read with its new definition");
                    transfer = next;
                    continue;
                }
            }
            let name = &transfer.table.name;
            if plan.is_core_table(name) {
                return Err(error.of_table(name));
            }
            // What the source cannot read or the target cannot define is left out, and the rest arrives.
            context.import.omit(transfer.definition.name()).await.map_err(TransferError::Target)?;
            return Ok(TableOutcome::Omitted(OmittedObject::new("table", name, why)));
        }
    }

    /// The definition that the source has of a table by now; `None` if it has none.
    async fn definition_now(&self, name: &str, from: &Manifest) -> Result<Option<Definition>, TransferError> {
        let is_table = |definition: &Definition| {
            definition.name() == name
                && matches!(definition, Definition::Table(_) | Definition::Unreadable(_))
        };
        for _ in 0..MAX_LISTS {
            let mut pages = self.source.definition_stream(AdaptiveBatch::new(from.limits.budget_ms));
            while let Some(page) = pages.next().await.map_err(TransferError::Source)? {
                let table = page.into_iter().find(is_table);
                if table.is_some() {
                    return Ok(table);
                }
            }
        }
        Ok(None)
    }

    /// Creates views, triggers and sequences, and returns those that the target rejected, and triggers that need what is not
    /// in the copy. `without`: the tables that are not.
    pub(super) async fn other_objects(
        &self,
        TablesContext { import, plan, from, all, .. }: &TablesContext<'_>,
        without: &[OmittedObject],
    ) -> Result<Vec<OmittedObject>, TransferError> {
        let missing = MissingObjects::of(from, all, without);
        let mut omitted = Vec::new();
        let others = all.iter().filter(|definition| {
            !matches!(definition, Definition::Table(_) | Definition::Program(_) | Definition::Unreadable(_))
        });
        for definition in others {
            let mut omit = |reason: &dyn std::fmt::Display| {
                omitted.push(OmittedObject::new(definition.object(), definition.name(), reason));
            };
            let Some(adapted) = plan.definition(definition) else {
                let is_sql = matches!(definition, Definition::View(_) | Definition::Trigger(_));
                omit(&if is_sql {
                    "its text may name tables that have other names in the copy"
                } else {
                    NAME_IS_TAKEN
                });
                continue;
            };
            if let Definition::Trigger(trigger) = definition
                && let Some(needed) = missing.needed_by(trigger)
            {
                omit(&format_args!("it needs {needed}, which is not in the copy either"));
                continue;
            }
            match import.define(&adapted, false).await {
                Ok(_) => {}
                Err(error) if error.is_about_content() => omit(&reason(&TransferError::Target(error))),
                Err(error) => return Err(TransferError::Target(error)),
            }
        }
        Ok(omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_tables_together_few_samples_are_kept() {
        let budget = SampleBudget(AtomicUsize::new(MAX_SAMPLES));
        assert_eq!(budget.take(MAX_SAMPLES - 10), MAX_SAMPLES - 10);
        assert_eq!((0..50_000).map(|_| budget.take(100)).sum::<usize>(), 10);
    }
}
