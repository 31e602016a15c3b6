//! Transfers one table: reads, transforms and sends its rows, then compares counts and digests of both sides.

use std::borrow::Cow;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    AdaptiveBatch, Adjustment, Client, ClientError, ConstraintConflicts, Cursor, Definition, Import,
    RowCount, Rows, Table, TableProgress,
};
use wpclone_rewrite::{PrefixMapping, Report, Rewriter};

use crate::byte_budget::ByteBudget;
use crate::checkpoint::Checkpoint;
use crate::chunk_writer::ChunkWriter;
use crate::error::TransferError;
use crate::fidelity::TableFidelity;
use crate::own_options::OwnOptions;
use crate::progress::TransferProgress;
use crate::row_stream::{Counts, RowChanged, RowStream};
use crate::row_transformer::RowTransformer;

/// The largest response with rows. Two responses per table are in memory at a time.
const MAX_READ_BYTES: u32 = 3 << 20;
/// A table has at most so many times the bytes that its database estimates (a compressed one has more than are stored), and
/// some more: a source that sends rows without end does not fill the target's disk.
const MAX_ESTIMATE_FACTOR: u64 = 16;
const MAX_UNESTIMATED_BYTES: u64 = 4 << 30;
/// A table may have so many more rows when they are counted than when they were read.
const MAX_NEW_ROWS: u64 = 10_000_000;
/// What is reported of the adjustments of a table: so many, of so many characters.
const MAX_ADJUSTMENTS: usize = 20;
const MAX_ADJUSTMENT_CHARS: usize = 200;
/// How often a table is read if its rows change, or the target needs them again.
const MAX_READS: u32 = 3;

/// The transfer of one table.
pub(crate) struct TableTransfer<'a> {
    pub(crate) source: &'a Client,
    pub(crate) import: &'a Import,
    /// The definition on the source.
    pub(crate) table: Cow<'a, Table>,
    /// The definition on the target.
    pub(crate) definition: Definition,
    /// What that definition lacks already.
    pub(crate) adjustments: Vec<Adjustment>,
    /// Whether both sides have the same database product.
    pub(crate) same_server: bool,
    /// The name without the source's prefix.
    pub(crate) base: &'a str,
    /// Plugins that are not active in the copy.
    pub(crate) deactivated_plugins: &'a [String],
    pub(crate) own_options: &'a OwnOptions,
    /// For each transferred column, whether a foreign key names it.
    pub(crate) in_foreign_key: Vec<bool>,
    pub(crate) rewriter: &'a Rewriter,
    pub(crate) prefix: Option<&'a PrefixMapping>,
    /// What it is sent as. What was sent as something else is sent again.
    pub(crate) fingerprint: String,
    /// For the rows of all tables.
    pub(crate) budget: &'a ByteBudget,
    /// Time budget of a request to the source in milliseconds (`limits.budget_ms`).
    pub(crate) budget_ms: u32,
    pub(crate) progress: &'a TransferProgress,
    pub(crate) cancel: &'a CancellationToken,
}

/// A table that was transferred and verified.
pub(crate) struct TransferredTable {
    pub(crate) fidelity: TableFidelity,
    pub(crate) report: Report,
    /// Values that were too large to be rewritten.
    pub(crate) skipped_large_values: u64,
    /// What was sent, to be continued.
    pub(crate) sent: SentRows,
}

/// The rows of a table that were sent.
#[derive(Clone)]
pub(crate) struct SentRows {
    /// The table's id in the job.
    pub(crate) table_id: u32,
    /// Number of the last chunk.
    pub(crate) chunk: u32,
    /// The source's cursor after the last row.
    pub(crate) end: Option<Cursor>,
    /// Rows and digests, before those that the target loaded with their other values are taken back.
    pub(crate) counts: Counts,
    /// These.
    pub(crate) conflicts: ConstraintConflicts,
    /// Whether all values in constraints were kept.
    pub(crate) keeps_constrained: bool,
}

impl TransferredTable {
    /// Drops unreplaced addresses beyond these. Their numbers stay.
    pub(crate) fn keep_samples(&mut self, most: usize) {
        for report in [&mut self.report, &mut self.sent.counts.report] {
            report.unreplaced_samples.truncate(most);
            report.unreplaced_samples.shrink_to_fit();
        }
    }

    /// Records that other rows than before were sent, which the target counted.
    pub(crate) fn update(&mut self, sent: SentRows, target: &RowCount) {
        let counts = sent.loaded();
        let fidelity = &mut self.fidelity;
        (fidelity.source_rows, fidelity.source_digest) = (counts.source_rows, counts.source_digest);
        (fidelity.target_rows, fidelity.target_digest) = (target.rows, target.digest);
        fidelity.omitted = counts.omitted;
        fidelity.changed_values = counts.report.changed_values;
        fidelity.constraint_conflicts = counts.constraint_conflicts;
        (self.report, self.skipped_large_values, self.sent) =
            (counts.report, counts.skipped_large_values, sent);
    }
}

impl SentRows {
    /// The counts of what the target has.
    pub(crate) fn loaded(&self) -> Counts {
        let mut counts = self.counts.clone();
        counts.take_back(&self.conflicts);
        counts
    }
}

/// Why an attempt to read the table failed.
pub(crate) enum ReadError {
    /// The source's rows changed while they were read.
    Changed,
    /// The target's database does not accept a row: two are equal in a unique index, or one violates a check.
    ConstraintViolated(ClientError),
    /// The target emptied the table, which has to be sent again from its beginning.
    Emptied(ClientError),
    Failed(TransferError),
}

impl From<TransferError> for ReadError {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

impl From<RowChanged> for ReadError {
    fn from(_: RowChanged) -> Self {
        Self::Changed
    }
}

impl TableTransfer<'_> {
    /// Transfers the table. If its rows change meanwhile, or the target needs them again, it is read again, [`MAX_READS`] times
    /// in all.
    pub(crate) async fn run(
        &self,
        progress: Option<&TableProgress>,
    ) -> Result<TransferredTable, TransferError> {
        let (mut resumed, mut keeps_constrained, mut emptied) = (progress.cloned(), false, None);
        for read in 0..MAX_READS {
            let last = read + 1 == MAX_READS;
            match self.attempt(resumed.take(), read, last, keeps_constrained).await {
                Ok(result) => return Ok(result),
                Err(ReadError::Failed(error)) => return Err(error),
                Err(ReadError::ConstraintViolated(error)) if keeps_constrained => {
                    return Err(TransferError::Target(error));
                }
                Err(ReadError::ConstraintViolated(_)) => {
                    tracing::info!(table = self.table.name, "values in constraints are not changed");
                    keeps_constrained = true;
                }
                Err(ReadError::Changed) => {
                    tracing::info!(table = self.table.name, read, "the table changed while it was read")
                }
                Err(ReadError::Emptied(error)) => {
                    tracing::info!(table = self.table.name, read, "the target emptied the table");
                    emptied = Some(error);
                }
            }
        }
        // The source is not the cause, or not alone.
        if let Some(error) = emptied {
            return Err(TransferError::Target(error));
        }
        let detail = format!("a row of the table {} changed each time it was read", self.table.name);
        Err(TransferError::TableChanged(detail))
    }

    async fn attempt(
        &self,
        resumed: Option<TableProgress>,
        read: u32,
        last: bool,
        keeps_constrained: bool,
    ) -> Result<TransferredTable, ReadError> {
        let checkpoint =
            resumed.as_ref().and_then(|progress| Checkpoint::from_json(progress.cursor.as_deref()?));
        let (checkpoint, seq, restarts) = match (checkpoint, &resumed) {
            (Some(checkpoint), Some(progress))
                if checkpoint.complete == progress.complete && checkpoint.fingerprint == self.fingerprint =>
            {
                (checkpoint, progress.chunk, false)
            }
            // Without a valid checkpoint the target drops what it has.
            _ => (Checkpoint::start(&self.fingerprint), 0, true),
        };
        let resumed_rows = checkpoint.source_rows;
        let defined = self.define(restarts).await?;
        let sent = if checkpoint.complete {
            self.progress.skip_bytes(self.table.estimated_bytes());
            // An earlier attempt sent all rows. The checksums below tell whether they are still the same.
            let mut counts = Counts::default();
            checkpoint.restore(&mut counts);
            let conflicts = resumed.map(|progress| progress.constraint_conflicts).unwrap_or_default();
            let end = checkpoint.cursor;
            SentRows { table_id: defined.id, chunk: seq, end, counts, conflicts, keeps_constrained }
        } else {
            self.send(defined.id, checkpoint, seq, keeps_constrained).await?
        };
        let counts = sent.loaded();
        let (source, target) =
            tokio::join!(self.count_source(counts.source_rows), self.count_target(defined.id, &counts));
        let (source, target) = (source?, target?);
        let consistent = (source.rows, source.digest) == (counts.source_rows, counts.source_digest);
        if !consistent && !last {
            return Err(ReadError::Changed);
        }
        if (target.rows, target.digest) != (counts.target_rows, counts.target_digest) {
            if !restarts && !last {
                // Rows that an earlier attempt sent may have changed since.
                return Err(ReadError::Changed);
            }
            return Err(ReadError::Failed(self.difference(&counts, &target)));
        }
        let mut result = self.result(sent, &target, read, consistent, defined.adjustments);
        result.fidelity.resumed_rows = resumed_rows;
        Ok(result)
    }

    /// Counts the rows of the target, which has been sent so many.
    pub(crate) async fn count_target(&self, table_id: u32, sent: &Counts) -> Result<RowCount, TransferError> {
        let most = sent.target_rows.saturating_add(MAX_NEW_ROWS);
        self.import.checksum(table_id, most).await.map_err(TransferError::Target)
    }

    /// The error of a target that has other rows than were sent.
    pub(crate) fn difference(&self, sent: &Counts, target: &RowCount) -> TransferError {
        TransferError::Verification(format!(
            "The target has {} rows in {} and {} were sent, or their contents differ.",
            target.rows,
            self.definition.name(),
            sent.target_rows
        ))
    }

    fn result(
        &self,
        sent: SentRows,
        target: &RowCount,
        read: u32,
        consistent: bool,
        adjustments: Vec<String>,
    ) -> TransferredTable {
        let counts = sent.loaded();
        let (name, new) = (&self.table.name, self.definition.name());
        let next = |table: &Table| table.auto_increment.unwrap_or_default();
        let ahead = match &self.definition {
            Definition::Table(defined) => next(defined).saturating_sub(next(&self.table)),
            _ => 0,
        };
        let adjustments = adjustments.into_iter().take(MAX_ADJUSTMENTS);
        let adjustments = adjustments.map(|text| text.chars().take(MAX_ADJUSTMENT_CHARS).collect());
        let fidelity = TableFidelity {
            name: name.clone(),
            target_name: (new != name).then(|| new.to_owned()),
            source_rows: counts.source_rows,
            resumed_rows: 0,
            source_digest: counts.source_digest,
            target_rows: target.rows,
            target_digest: target.digest,
            omitted: counts.omitted,
            changed_values: counts.report.changed_values,
            constraint_conflicts: counts.constraint_conflicts,
            auto_increment_offset: ahead,
            rereads: read,
            consistent,
            in_snapshot: false,
            adjustments: adjustments.collect(),
        };
        TransferredTable {
            fidelity,
            report: counts.report,
            skipped_large_values: counts.skipped_large_values,
            sent,
        }
    }

    async fn count_source(&self, read_rows: u64) -> Result<RowCount, ReadError> {
        let mut batch_size = AdaptiveBatch::new(self.budget_ms);
        let most = read_rows.saturating_mul(2).saturating_add(MAX_NEW_ROWS);
        self.source.full_checksum(&self.table.name, most, &mut batch_size).await.map_err(source_error)
    }

    /// How many bytes of rows are read at most.
    fn max_bytes(&self) -> u64 {
        let estimated = self.table.estimated_bytes().saturating_mul(MAX_ESTIMATE_FACTOR);
        estimated.saturating_add(MAX_UNESTIMATED_BYTES)
    }

    /// Sends all rows after a checkpoint.
    async fn send(
        &self,
        n: u32,
        checkpoint: Checkpoint,
        seq: u32,
        keeps_constrained: bool,
    ) -> Result<SentRows, ReadError> {
        let (sender, take) = mpsc::channel(1);
        let read = self.read(checkpoint.cursor.clone(), sender);
        let writer = ChunkWriter::new(self.import, n, seq, checkpoint);
        let write = self.write(writer, n, keeps_constrained, take);
        // Whichever ends first closes the channel and so ends the other.
        let ((), sent) = tokio::join!(read, write);
        sent
    }

    /// The transformation of the table's rows.
    pub(crate) fn row_stream(&self, keeps_constrained: bool) -> RowStream<'_> {
        let transformer = RowTransformer::new(&self.table, self.base, self.rewriter, self.prefix)
            .deactivating(self.deactivated_plugins)
            .with_own_options(self.own_options)
            .with_foreign_keys(&self.in_foreign_key);
        RowStream::new(transformer).keeping_constrained(keeps_constrained)
    }

    /// Whether rows have the columns of the definition.
    pub(crate) fn has_columns(&self, columns: &[String]) -> bool {
        columns.iter().eq(self.table.transferred_columns().map(|column| &column.name))
    }

    /// Reads one response ahead: the next request waits until the last response was received.
    async fn read(&self, from: Option<Cursor>, sender: mpsc::Sender<Result<Rows, ClientError>>) {
        let batch_size = AdaptiveBatch::new(self.budget_ms).capped_at(MAX_READ_BYTES);
        let mut rows = self.source.row_stream(&self.table.name, from, batch_size);
        while let Ok(checkpoint) = sender.reserve().await {
            let next = tokio::select! {
                next = rows.next() => next,
                () = sender.closed() => return,
            };
            let ended = next.is_err();
            let Some(next) = next.transpose() else { return };
            checkpoint.send(next);
            if ended {
                return;
            }
        }
    }

    async fn write(
        &self,
        mut writer: ChunkWriter<'_>,
        table_id: u32,
        keeps_constrained: bool,
        mut receiver: mpsc::Receiver<Result<Rows, ClientError>>,
    ) -> Result<SentRows, ReadError> {
        let mut units = self.row_stream(keeps_constrained);
        writer.checkpoint.restore(&mut units.counts);
        let (mut bytes_left, mut end) = (self.max_bytes(), None);
        while let Some(rows) = receiver.recv().await {
            if self.cancel.is_cancelled() {
                return Err(TransferError::Cancelled.into());
            }
            let rows = rows.map_err(source_error)?;
            if !self.has_columns(&rows.header.columns) {
                let detail =
                    format!("the columns of the table {} changed while it was read", self.table.name);
                return Err(TransferError::TableChanged(detail).into());
            }
            self.budget.take(rows.len() as u64)?;
            bytes_left = bytes_left
                .checked_sub(rows.len() as u64)
                .ok_or(TransferError::Source(ClientError::Endless("rows")))?;
            for part in rows.parts() {
                let part = part.map_err(TransferError::Source)?;
                units.push(&part, &mut |unit| writer.add(&unit))?;
                writer.send().await?;
            }
            units.add_source_counts(rows.count.rows, rows.count.digest);
            end.clone_from(&rows.end);
            self.progress.add_rows(rows.count.rows, rows.len() as u64);
            if units.is_emitted()
                && let Some(cursor) = &rows.count.cursor
            {
                writer.set_checkpoint(Checkpoint::at(&self.fingerprint, Some(cursor.clone()), &units.counts));
            }
        }
        if !units.is_between_rows() {
            return Err(ReadError::Changed);
        }
        units.finish(&mut |unit| writer.add(&unit));
        let checkpoint = Checkpoint::complete(&self.fingerprint, end.clone(), &units.counts);
        let (chunk, conflicts) = writer.end(checkpoint).await?;
        Ok(SentRows { table_id, chunk, end, counts: units.counts, conflicts, keeps_constrained })
    }
}

/// An error of the source. `gone` only means that the rows changed meanwhile.
fn source_error(error: ClientError) -> ReadError {
    match error.code() {
        Some("gone") => ReadError::Changed,
        _ => ReadError::Failed(TransferError::Source(error)),
    }
}

/// An error of the target. `restart_table` means that the table has to be sent again.
pub(crate) fn target_error(error: ClientError) -> ReadError {
    match error.code() {
        _ if error.violates_constraint() => ReadError::ConstraintViolated(error),
        Some("restart_table") => ReadError::Emptied(error),
        _ => ReadError::Failed(TransferError::Target(error)),
    }
}
