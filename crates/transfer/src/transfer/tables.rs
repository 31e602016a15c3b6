//! The tables, views, triggers and sequences of a transfer.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use wpclone_migrator::{Adjustment, Definition, Import, Manifest, Table};

use super::Transfer;
use crate::error::TransferError;
use crate::last_pass::Transferred;
use crate::omitted_objects::{OmittedObject, reason};
use crate::plan::Plan;
use crate::table::TableTransfer;
use crate::unsupported::without_dangling_foreign_keys;

/// Tables transferred at the same time. With the files, this stays below the request limit of a migrator.
const CONCURRENT_TABLES: usize = 2;
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
