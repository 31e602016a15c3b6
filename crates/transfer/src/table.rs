//! Transfers one table: reads, transforms and sends its rows, then compares counts and digests of both sides.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    AdaptiveBatch, Adjustment, Client, ClientError, Cursor, Definition, Import, RowChunk, RowCount, Rows,
    Table, TableProgress, UniqueConflicts,
};
use wpclone_rewrite::{PrefixMapping, Report, Rewriter};

use crate::checkpoint::Checkpoint;
use crate::error::TransferError;
use crate::fidelity::TableFidelity;
use crate::progress::TransferProgress;
use crate::row_stream::{Counts, RowChanged, RowStream, Unit};
use crate::row_transformer::{OwnOptions, RowTransformer};

/// The largest response with rows. Two responses per table are in memory at a time.
const MAX_READ_BYTES: u32 = 3 << 20;
/// The largest chunk of rows in one request to the target.
const MAX_WRITE_BYTES: u32 = 3 << 20;
/// A table has at most so many times the bytes that its database estimates (a compressed one has more than are stored), and
/// some more: a source that sends rows without end does not fill the target's disk.
const MAX_ESTIMATE_FACTOR: u64 = 16;
const MAX_UNESTIMATED_BYTES: u64 = 4 << 30;
/// A table may have so many more rows when they are counted than when they were read.
const MAX_NEW_ROWS: u64 = 10_000_000;
/// What is reported of the adjustments of a table: so many, of so many characters.
const MAX_ADJUSTMENTS: usize = 20;
const MAX_ADJUSTMENT_CHARS: usize = 200;
/// How often a table is read if its rows change.
const MAX_READS: u32 = 3;

/// The transfer of one table.
pub(crate) struct TableTransfer<'a> {
    pub(crate) source: &'a Client,
    pub(crate) import: &'a Import,
    /// The definition on the source.
    pub(crate) table: &'a Table,
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
    pub(crate) rewriter: &'a Rewriter,
    pub(crate) prefix: Option<&'a PrefixMapping>,
    /// What it is sent as. What was sent as something else is sent restarts.
    pub(crate) fingerprint: String,
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
}

/// Why an attempt to read the table failed.
enum ReadError {
    /// The source's rows changed while they were read.
    Changed,
    /// On the target, two rows are equal in a unique index.
    DuplicateKey(ClientError),
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
    /// Transfers the table. If its rows change meanwhile it is read again, [`MAX_READS`] times in all.
    pub(crate) async fn run(
        &self,
        progress: Option<&TableProgress>,
    ) -> Result<TransferredTable, TransferError> {
        let (mut resumed, mut keeps_unique) = (progress.cloned(), false);
        for read in 0..MAX_READS {
            let last = read + 1 == MAX_READS;
            match self.attempt(resumed.take(), read, last, keeps_unique).await {
                Ok(result) => return Ok(result),
                Err(ReadError::Failed(error)) => return Err(error),
                Err(ReadError::DuplicateKey(error)) if keeps_unique => {
                    return Err(TransferError::Target(error));
                }
                Err(ReadError::DuplicateKey(_)) => {
                    tracing::info!(table = self.table.name, "values in unique indexes are not changed");
                    keeps_unique = true;
                }
                Err(ReadError::Changed) => {
                    tracing::info!(table = self.table.name, read, "the table changed while it was read")
                }
            }
        }
        Err(TransferError::Verification(format!(
            "A row of the table {} changed each time it was read.",
            self.table.name
        )))
    }

    async fn attempt(
        &self,
        resumed: Option<TableProgress>,
        read: u32,
        last: bool,
        keeps_unique: bool,
    ) -> Result<TransferredTable, ReadError> {
        let checkpoint =
            resumed.as_ref().and_then(|progress| Checkpoint::from_json(progress.cursor.as_ref()?));
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
        let (mut counts, conflicts) = if checkpoint.complete {
            self.progress.skip_bytes(self.table.estimated_bytes());
            // An earlier attempt sent all rows. The checksums below tell whether they are still the same.
            let mut counts = Counts::default();
            checkpoint.restore(&mut counts);
            (counts, resumed.map(|progress| progress.unique_conflicts).unwrap_or_default())
        } else {
            self.send(defined.id, checkpoint, seq, keeps_unique).await?
        };
        counts.take_back(&conflicts);
        let (source, target) = tokio::join!(
            self.count_source(counts.source_rows),
            self.import.checksum(defined.id, counts.target_rows.saturating_add(MAX_NEW_ROWS))
        );
        let (source, target) = (source?, target.map_err(TransferError::Target)?);
        let consistent = (source.rows, source.digest) == (counts.source_rows, counts.source_digest);
        if !consistent && !last {
            return Err(ReadError::Changed);
        }
        if (target.rows, target.digest) != (counts.target_rows, counts.target_digest) {
            if !restarts && !last {
                // Rows that an earlier attempt sent may have changed since.
                return Err(ReadError::Changed);
            }
            return Err(ReadError::Failed(TransferError::Verification(format!(
                "The target has {} rows in {} and {} were sent, or their contents differ.",
                target.rows,
                self.definition.name(),
                counts.target_rows
            ))));
        }
        let mut result = self.result(counts, &target, read, consistent, defined.adjustments);
        result.fidelity.resumed_rows = resumed_rows;
        Ok(result)
    }

    fn result(
        &self,
        counts: Counts,
        target: &RowCount,
        read: u32,
        consistent: bool,
        adjustments: Vec<String>,
    ) -> TransferredTable {
        let (name, new) = (&self.table.name, self.definition.name());
        let next = |table: &Table| table.auto_increment.unwrap_or_default();
        let ahead = match &self.definition {
            Definition::Table(defined) => next(defined).saturating_sub(next(self.table)),
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
            unique_conflicts: counts.unique_conflicts,
            auto_increment_offset: ahead,
            rereads: read,
            consistent,
            adjustments: adjustments.collect(),
        };
        TransferredTable {
            fidelity,
            report: counts.report,
            skipped_large_values: counts.skipped_large_values,
        }
    }

    async fn count_source(&self, read_rows: u64) -> Result<RowCount, TransferError> {
        let mut batch_size = AdaptiveBatch::new(self.budget_ms);
        let most = read_rows.saturating_mul(2).saturating_add(MAX_NEW_ROWS);
        self.source
            .full_checksum(&self.table.name, most, &mut batch_size)
            .await
            .map_err(TransferError::Source)
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
        keeps_unique: bool,
    ) -> Result<(Counts, UniqueConflicts), ReadError> {
        let (sender, take) = mpsc::channel(1);
        let read = self.read(checkpoint.cursor.clone(), sender);
        let write = self.write(ChunkWriter::new(self.import, n, seq, checkpoint), keeps_unique, take);
        // Whichever ends first closes the channel and so ends the other.
        let ((), counts) = tokio::join!(read, write);
        counts
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
        keeps_unique: bool,
        mut receiver: mpsc::Receiver<Result<Rows, ClientError>>,
    ) -> Result<(Counts, UniqueConflicts), ReadError> {
        let transformer = RowTransformer::new(self.table, self.base, self.rewriter, self.prefix)
            .deactivating(self.deactivated_plugins)
            .with_own_options(self.own_options);
        let mut units = RowStream::new(transformer).keeping_unique(keeps_unique);
        writer.checkpoint.restore(&mut units.counts);
        let mut bytes_left = self.max_bytes();
        while let Some(rows) = receiver.recv().await {
            if self.cancel.is_cancelled() {
                return Err(TransferError::Cancelled.into());
            }
            let rows = rows.map_err(source_error)?;
            if !rows.header.columns.iter().eq(self.table.transferred_columns().map(|column| &column.name)) {
                let detail = format!("The columns of {} changed while it was read.", self.table.name);
                return Err(TransferError::Verification(detail).into());
            }
            bytes_left = bytes_left
                .checked_sub(rows.len() as u64)
                .ok_or(TransferError::Source(ClientError::Endless("rows")))?;
            for part in rows.parts() {
                let part = part.map_err(TransferError::Source)?;
                units.push(&part, &mut |unit| writer.add(&unit))?;
                writer.send().await?;
            }
            units.add_source_counts(rows.count.rows, rows.count.digest);
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
        let conflicts = writer.end(Checkpoint::at(&self.fingerprint, None, &units.counts)).await?;
        Ok((units.counts, conflicts))
    }
}

/// An error of the source. `gone` only means that the rows changed meanwhile.
fn source_error(error: ClientError) -> ReadError {
    match error.code() {
        Some("gone") => ReadError::Changed,
        _ => ReadError::Failed(TransferError::Source(error)),
    }
}

/// An error of the target. `restart_table` only means that the table has to be sent again.
fn target_error(error: ClientError) -> ReadError {
    match error.code() {
        _ if error.is_duplicate_key() => ReadError::DuplicateKey(error),
        Some("restart_table") => ReadError::Changed,
        _ => ReadError::Failed(TransferError::Target(error)),
    }
}

/// Sends units in chunks, each with the checkpoint that the transfer resumes from after it.
struct ChunkWriter<'a> {
    import: &'a Import,
    n: u32,
    /// Number of the last chunk that the target stored.
    seq: u32,
    /// The last checkpoint between two rows.
    checkpoint: Checkpoint,
    /// RowStream since then, those that were sent before a break among them.
    since: u64,
    /// How many of the next units an earlier attempt sent.
    skip: u64,
    chunk: RowChunk,
    /// The checkpoint before the current chunk.
    begin: Checkpoint,
    pending: Vec<PendingChunk>,
    batch_size: AdaptiveBatch,
    /// Those of the whole table so far.
    conflicts: UniqueConflicts,
}

/// A complete chunk, and the checkpoints before and after it.
struct PendingChunk {
    chunk: RowChunk,
    begin: Checkpoint,
    end: Checkpoint,
}

impl<'a> ChunkWriter<'a> {
    fn new(import: &'a Import, n: u32, seq: u32, checkpoint: Checkpoint) -> Self {
        let (skip, batch_size) = (checkpoint.units, import.adaptive_batch().capped_at(MAX_WRITE_BYTES));
        let (chunk, begin, pending) = (import.row_chunk(), checkpoint.clone(), Vec::new());
        let conflicts = UniqueConflicts::default();
        Self { import, n, seq, checkpoint, since: 0, skip, chunk, begin, pending, batch_size, conflicts }
    }

    fn add(&mut self, unit: &Unit<'_>) {
        self.since += 1;
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        match unit {
            Unit::Row { bytes, whole } => self.chunk.row(bytes, *whole),
            Unit::Piece { column, offset, bytes } => self.chunk.piece(*column, *offset, bytes),
            Unit::Alternatives(rows) => self.chunk.alternatives(rows),
        }
        if self.chunk.len() >= self.batch_size.budget().bytes as usize {
            self.close();
        }
    }

    /// Sets the checkpoint after all units so far.
    fn set_checkpoint(&mut self, checkpoint: Checkpoint) {
        (self.checkpoint, self.since) = (checkpoint, 0);
    }

    fn close(&mut self) {
        let end = Checkpoint { units: self.since, ..self.checkpoint.clone() };
        let begin = std::mem::replace(&mut self.begin, end.clone());
        self.pending.push(PendingChunk {
            chunk: std::mem::replace(&mut self.chunk, self.import.row_chunk()),
            begin,
            end,
        });
    }

    /// Sends all complete chunks.
    async fn send(&mut self) -> Result<(), ReadError> {
        for pending in std::mem::take(&mut self.pending) {
            self.send_chunk(pending, false).await?;
        }
        Ok(())
    }

    /// Sends the rest, and marks the last chunk as the end of the table. Returns which rows the target loaded with their
    /// other values.
    async fn end(&mut self, checkpoint: Checkpoint) -> Result<UniqueConflicts, ReadError> {
        self.set_checkpoint(checkpoint);
        self.close();
        let mut pending = std::mem::take(&mut self.pending).into_iter().peekable();
        while let Some(chunk) = pending.next() {
            let last = pending.peek().is_none();
            self.send_chunk(chunk, last).await?;
        }
        Ok(self.conflicts)
    }

    /// Sends a chunk. If it is too large for the target it is split.
    async fn send_chunk(&mut self, pending: PendingChunk, last: bool) -> Result<(), ReadError> {
        let mut parts = vec![pending];
        while let Some(PendingChunk { mut chunk, begin, end }) = parts.pop() {
            let last = last && parts.is_empty();
            let state = end.to_json()?;
            match self.import.load(self.n, self.seq + 1, &mut chunk, &state, last, &mut self.batch_size).await
            {
                Ok(loaded) => {
                    self.seq += 1;
                    self.conflicts = loaded.unique_conflicts;
                }
                Err(ClientError::RequestTooLarge) => {
                    self.batch_size.record_failure(true);
                    let (first, second) =
                        chunk.split().ok_or(TransferError::Target(ClientError::RequestTooLarge))?;
                    let middle = Checkpoint { units: begin.units + first.part_count(), ..begin.clone() };
                    parts.push(PendingChunk { chunk: second, begin: middle.clone(), end });
                    parts.push(PendingChunk { chunk: first, begin, end: middle });
                }
                Err(error) => return Err(target_error(error)),
            }
        }
        Ok(())
    }
}
