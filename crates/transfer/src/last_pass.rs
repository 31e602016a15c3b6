//! The last pass over all tables: takes what was added or changed since they were read, in one snapshot of the source's
//! database, so that the rows of different tables fit together. It is one request to the source, whatever the site does. Then it
//! reads the list of tables again.

use std::collections::HashSet;

use wpclone_migrator::{
    AdaptiveBatch, Budget, ClientError, Definition, KnownTable, MAX_SNAPSHOT_TABLES, Snapshot, SnapshotRows,
    SnapshotState,
};

use crate::checkpoint::Checkpoint;
use crate::chunk_writer::ChunkWriter;
use crate::error::TransferError;
use crate::fidelity::SnapshotFidelity;
use crate::omitted_objects::OmittedObject;
use crate::table::{ReadError, SentRows, TableTransfer, TransferredTable};
use crate::transfer::{TableOutcome, TablesContext, Transfer};

/// The length of the response, and how often it is asked for.
const MAX_BYTES: u32 = 6 << 20;
const MAX_ATTEMPTS: u32 = 2;

/// A table that was transferred, and how.
pub(crate) type Transferred<'a> = (TableTransfer<'a>, TransferredTable);

/// The outcome of the last pass.
#[derive(Default)]
pub(crate) struct LastPass {
    /// The tables that the copy has.
    pub(crate) tables: Vec<TransferredTable>,
    /// What it has not: tables that had to be read again and could not be copied any more, and what the source lists only now.
    pub(crate) omitted: Vec<OmittedObject>,
    pub(crate) fidelity: SnapshotFidelity,
}

impl LastPass {
    /// Adds a table that the copy has.
    fn add(&mut self, mut table: TransferredTable, state: SnapshotState) {
        let name = &table.fidelity.name;
        match state {
            SnapshotState::Exact => {
                (table.fidelity.in_snapshot, table.fidelity.consistent) = (true, true);
            }
            SnapshotState::Changed => self.fidelity.torn_tables.push(name.clone()),
            SnapshotState::Unknown => self.fidelity.uncompared_tables.push(name.clone()),
        }
        self.tables.push(table);
    }
}

impl Transfer<'_> {
    /// Takes the last snapshot of the transferred tables, and reads the list of tables again.
    pub(crate) async fn last_pass<'t>(
        &'t self,
        context: &'t TablesContext<'t>,
        tables: Vec<Transferred<'t>>,
    ) -> Result<LastPass, TransferError> {
        let mut pass = LastPass::default();
        self.take_snapshot(context, tables, &mut pass).await?;
        self.list_again(context, &mut pass).await?;
        Ok(pass)
    }

    /// Takes the last snapshot, and adds its rows to the tables.
    async fn take_snapshot<'t>(
        &'t self,
        context: &'t TablesContext<'t>,
        mut tables: Vec<Transferred<'t>>,
        pass: &mut LastPass,
    ) -> Result<(), TransferError> {
        // Small tables first: if there are more than one snapshot takes, these are compared.
        tables.sort_by_key(|(_, table)| table.fidelity.source_rows);
        let snapshot = match self.read_snapshot(&tables, context.from.limits.budget_ms).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                pass.fidelity.error = Some(error.to_string());
                pass.tables.extend(tables.into_iter().map(|(_, table)| table));
                return Ok(());
            }
        };
        for (transfer, mut table) in tables {
            if self.cancel.is_cancelled() {
                return Err(TransferError::Cancelled);
            }
            let name = transfer.table.name.clone();
            let mut state = snapshot.state(&name);
            let mut rows = snapshot.rows(&name);
            if rows.is_some_and(|rows| !transfer.has_columns(&rows.header.columns)) {
                (state, rows) = (SnapshotState::Changed, None);
            }
            // Without a key rows are known by their numbers, which are others if one was deleted.
            let is_certain = |rows: &&SnapshotRows| {
                rows.whole || state == SnapshotState::Exact || !rows.header.key.is_empty()
            };
            if let Some(rows) = rows.filter(is_certain) {
                match transfer.add_snapshot(&mut table, &snapshot, rows).await {
                    Ok(()) if rows.whole => pass.fidelity.replaced_tables += 1,
                    Ok(()) => pass.fidelity.appended_rows += rows.rows,
                    Err(ReadError::Failed(error)) if !error.is_about_table() => {
                        return Err(error.of_table(&name));
                    }
                    // The target has a part of these rows, or dropped what it had: the table is read again.
                    Err(_) => {
                        match self.table(context, transfer, None).await? {
                            TableOutcome::Transferred(again) => table = again.1,
                            TableOutcome::Omitted(object) => {
                                pass.omitted.push(object);
                                continue;
                            }
                        }
                        state = SnapshotState::Changed;
                    }
                }
            }
            pass.add(table, state);
        }
        pass.fidelity.torn_tables.sort();
        pass.fidelity.uncompared_tables.sort();
        Ok(())
    }

    /// Names what the source lists only now: a database does not list a table while it is altered.
    async fn list_again(
        &self,
        context: &TablesContext<'_>,
        pass: &mut LastPass,
    ) -> Result<(), TransferError> {
        let late = match self.objects_listed_late(context).await {
            Ok(late) => late,
            Err(error) => {
                pass.fidelity.list_error = Some(error.to_string());
                return Ok(());
            }
        };
        let is_core =
            |object: &&OmittedObject| object.kind == "table" && context.plan.has_core_name(&object.name);
        if let Some(OmittedObject { name, reason, .. }) = late.iter().find(is_core) {
            return Err(TransferError::TableChanged(format!("the table {name} was not copied: {reason}")));
        }
        pass.omitted.extend(late);
        Ok(())
    }

    async fn objects_listed_late(
        &self,
        context: &TablesContext<'_>,
    ) -> Result<Vec<OmittedObject>, ClientError> {
        let known: HashSet<_> = context.all.iter().map(|one| (one.namespace(), one.name())).collect();
        let mut late = Vec::new();
        let mut pages = self.source.definition_stream(AdaptiveBatch::new(context.from.limits.budget_ms));
        while let Some(page) = pages.next().await? {
            // Stored programs are not copied in any case.
            let is_late = |one: &&Definition| {
                !matches!(one, Definition::Program(_)) && !known.contains(&(one.namespace(), one.name()))
            };
            late.extend(page.iter().filter(is_late).map(OmittedObject::listed_late));
        }
        Ok(late)
    }

    async fn read_snapshot(
        &self,
        tables: &[Transferred<'_>],
        budget_ms: u32,
    ) -> Result<Snapshot, ClientError> {
        let tables = tables.iter().take(MAX_SNAPSHOT_TABLES);
        let known = tables.map(|(transfer, TransferredTable { sent, .. })| KnownTable {
            table: &transfer.table.name,
            rows: sent.counts.source_rows,
            digest: sent.counts.source_digest,
            cursor: sent.end.as_ref(),
        });
        let known: Vec<KnownTable<'_>> = known.collect();
        let budget = Budget { bytes: MAX_BYTES, ms: budget_ms.max(50) };
        let mut attempts = 1;
        loop {
            match self.source.snapshot(&known, budget).await {
                Err(error) if error.is_transient() && attempts < MAX_ATTEMPTS => attempts += 1,
                snapshot => return snapshot,
            }
        }
    }
}

impl TableTransfer<'_> {
    /// Adds rows of a snapshot to the table, or replaces its rows by them, and compares the target with what was sent.
    async fn add_snapshot(
        &self,
        table: &mut TransferredTable,
        snapshot: &Snapshot,
        rows: &SnapshotRows,
    ) -> Result<(), ReadError> {
        let (table_id, keeps_constrained) = (table.sent.table_id, table.sent.keeps_constrained);
        let mut writer = if rows.whole {
            self.define(true).await?;
            ChunkWriter::new(self.import, table_id, 0, Checkpoint::start(&self.fingerprint))
        } else {
            // A resumed attempt reads these rows of the source again.
            let checkpoint = Checkpoint::at(&self.fingerprint, table.sent.end.clone(), &table.sent.counts);
            ChunkWriter::new(self.import, table_id, table.sent.chunk, checkpoint).appending()
        };
        let mut units = self.row_stream(keeps_constrained);
        if !rows.whole {
            units.counts.clone_from(&table.sent.counts);
        }
        for part in snapshot.parts(rows) {
            units.push(&part.map_err(TransferError::Source)?, &mut |unit| writer.add(&unit))?;
            writer.send().await?;
        }
        if !units.is_between_rows() {
            return Err(ReadError::Changed);
        }
        units.finish(&mut |unit| writer.add(&unit));
        units.add_source_counts(rows.rows, rows.digest);
        self.progress.add_rows(rows.rows, 0);
        let checkpoint = Checkpoint::complete(&self.fingerprint, rows.end.clone(), &units.counts);
        let (chunk, conflicts) = writer.end(checkpoint).await?;
        let end = rows.end.clone();
        let sent = SentRows { table_id, chunk, end, counts: units.counts, conflicts, keeps_constrained };
        let loaded = sent.loaded();
        let target = self.count_target(table_id, &sent.counts).await?;
        if (target.rows, target.digest) != (loaded.target_rows, loaded.target_digest) {
            return Err(ReadError::Failed(self.difference(&loaded, &target)));
        }
        table.update(sent, &target);
        Ok(())
    }
}
