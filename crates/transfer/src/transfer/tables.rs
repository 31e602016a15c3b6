//! The tables, views, triggers and sequences of a transfer.

use std::borrow::Cow;
use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use wpclone_migrator::{AdaptiveBatch, Definition, Import, Manifest, Table};

use super::Transfer;
use crate::error::TransferError;
use crate::last_pass::Transferred;
use crate::omitted_objects::{OmittedObject, reason};
use crate::plan::Plan;
use crate::table::TableTransfer;
use crate::unsupported::without_dangling_foreign_keys;

/// Tables transferred at the same time. With the files, this stays below the request limit of a migrator.
const CONCURRENT_TABLES: usize = 2;
/// With how many definitions a table is read that is altered meanwhile.
const MAX_DEFINITIONS: u32 = 3;
/// Why a table is not copied that the source had at first.
const DROPPED: &str = "the source has dropped it meanwhile";
/// Why a table without the source's prefix is not copied.
const NAME_IS_TAKEN: &str = "in the copy its name would be that of a table of WordPress";

/// What became of a table.
pub(super) enum TableOutcome<'t> {
    Transferred(Box<Transferred<'t>>),
    Omitted(OmittedObject),
}

impl Transfer<'_> {
    /// Transfers the tables, some at the same time.
    pub(super) async fn tables<'t>(
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
            let Definition::Table(table) = definition else { continue };
            match plan.definition(definition) {
                Some(new) => transfers.push(self.table(import, plan, table, new, &names, from)),
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

    /// Transfers a table. If its definition changes meanwhile it is transferred with the new one, [`MAX_DEFINITIONS`] in all.
    async fn table<'t>(
        &'t self,
        import: &'t Import,
        plan: &'t Plan,
        table: &'t Table,
        definition: Definition,
        names: &HashSet<&str>,
        from: &Manifest,
    ) -> Result<TableOutcome<'t>, TransferError> {
        let progress = import.info().tables.iter().find(|progress| progress.name == definition.name());
        let (mut progress, mut current, mut new) = (progress, Cow::Borrowed(table), definition);
        let mut definitions = 0;
        loop {
            definitions += 1;
            let fingerprint = plan.fingerprint(&new);
            let adjustments = match &mut new {
                Definition::Table(new) => without_dangling_foreign_keys(new, names),
                _ => Vec::new(),
            };
            let transfer = TableTransfer {
                source: self.source,
                import,
                table: current,
                base: plan.base(&table.name),
                deactivated_plugins: &plan.deactivated_plugins,
                own_options: &plan.own_options,
                rewriter: &plan.rewriter,
                prefix: plan.prefix.as_ref(),
                fingerprint: plan.fingerprint(&new),
                definition: new,
                adjustments,
                same_server: plan.same_server,
                budget_ms: from.limits.budget_ms,
                progress: self.progress,
                cancel: self.cancel,
            };
            let error = match transfer.run(progress.take()).await {
                Ok(transferred) => {
                    return Ok(TableOutcome::Transferred(Box::new((transfer, transferred))));
                }
                Err(error) if error.is_about_table() => error,
                Err(error) => return Err(error.of_table(&table.name)),
            };
            // Rows of another definition are also what the target does not accept.
            let now = self.definition_now(&table.name, from).await?;
            let adapted = now.as_ref().and_then(|now| plan.definition(now));
            match (now, adapted) {
                (Some(Definition::Table(now)), Some(adapted))
                    if definitions < MAX_DEFINITIONS && plan.fingerprint(&adapted) != fingerprint =>
                {
                    tracing::info!(table = table.name, "the table is read with its new definition");
                    (current, new) = (Cow::Owned(now), adapted);
                }
                _ if plan.is_core_table(&table.name) => return Err(error.of_table(&table.name)),
                // What the source cannot read or the target cannot define is left out, and the rest arrives.
                (now, _) => {
                    import.omit(transfer.definition.name()).await.map_err(TransferError::Target)?;
                    let why = if now.is_some() { reason(&error) } else { DROPPED.to_owned() };
                    return Ok(TableOutcome::Omitted(OmittedObject::new("table", &table.name, why)));
                }
            }
        }
    }

    /// The definition that the source has of a table by now; `None` if it has none.
    async fn definition_now(&self, name: &str, from: &Manifest) -> Result<Option<Definition>, TransferError> {
        let mut batch_size = AdaptiveBatch::new(from.limits.budget_ms);
        let all = self.source.all_definitions(&mut batch_size).await.map_err(TransferError::Source)?;
        let is_table = |definition: &Definition| {
            definition.name() == name
                && matches!(definition, Definition::Table(_) | Definition::Unreadable(_))
        };
        Ok(all.into_iter().find(is_table))
    }

    /// Creates views, triggers and sequences, and returns those that the target rejected.
    pub(super) async fn other_objects(
        &self,
        import: &Import,
        plan: &Plan,
        all: &[Definition],
    ) -> Result<Vec<OmittedObject>, TransferError> {
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
            match import.define(&adapted, false).await {
                Ok(_) => {}
                Err(error) if error.is_about_content() => omit(&reason(&TransferError::Target(error))),
                Err(error) => return Err(TransferError::Target(error)),
            }
        }
        Ok(omitted)
    }
}
