//! Sends the units of a table to the target, in chunks.

use wpclone_migrator::{AdaptiveBatch, ChunkPlace, ClientError, ConstraintConflicts, Import, RowChunk};

use crate::checkpoint::Checkpoint;
use crate::error::TransferError;
use crate::row_stream::Unit;
use crate::table::{ReadError, target_error};

/// The largest chunk of rows in one request to the target.
const MAX_WRITE_BYTES: u32 = 3 << 20;

/// Sends units in chunks, each with the checkpoint that the transfer resumes from after it.
pub(crate) struct ChunkWriter<'a> {
    import: &'a Import,
    table_id: u32,
    /// Number of the last chunk that the target stored.
    last_chunk: u32,
    /// Whether the target has all chunks of the table, and gets more.
    append: bool,
    /// The last checkpoint between two rows.
    pub(crate) checkpoint: Checkpoint,
    /// Units since then, those that were sent before a break among them.
    since: u64,
    /// How many of the next units an earlier attempt sent.
    skip: u64,
    chunk: RowChunk,
    /// The checkpoint before the current chunk.
    begin: Checkpoint,
    pending: Vec<PendingChunk>,
    batch_size: AdaptiveBatch,
    /// Those of the whole table so far.
    conflicts: ConstraintConflicts,
}

/// A complete chunk, and the checkpoints before and after it.
struct PendingChunk {
    chunk: RowChunk,
    begin: Checkpoint,
    end: Checkpoint,
}

impl<'a> ChunkWriter<'a> {
    pub(crate) fn new(import: &'a Import, table_id: u32, last_chunk: u32, checkpoint: Checkpoint) -> Self {
        let (skip, batch_size) = (checkpoint.units, import.adaptive_batch().capped_at(MAX_WRITE_BYTES));
        let (chunk, begin, pending) = (import.row_chunk(), checkpoint.clone(), Vec::new());
        let conflicts = ConstraintConflicts::default();
        Self {
            import,
            table_id,
            last_chunk,
            append: false,
            checkpoint,
            since: 0,
            skip,
            chunk,
            begin,
            pending,
            batch_size,
            conflicts,
        }
    }

    /// A writer that adds to a table whose last chunk was sent.
    pub(crate) fn appending(self) -> Self {
        Self { append: true, ..self }
    }

    pub(crate) fn add(&mut self, unit: &Unit<'_>) {
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
    pub(crate) fn set_checkpoint(&mut self, checkpoint: Checkpoint) {
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
    pub(crate) async fn send(&mut self) -> Result<(), ReadError> {
        for pending in std::mem::take(&mut self.pending) {
            self.send_chunk(pending, false).await?;
        }
        Ok(())
    }

    /// Sends the rest, and marks the last chunk as the end of the table. Returns its number, and which rows the target loaded
    /// with their other values.
    pub(crate) async fn end(
        &mut self,
        checkpoint: Checkpoint,
    ) -> Result<(u32, ConstraintConflicts), ReadError> {
        self.set_checkpoint(checkpoint);
        self.close();
        let mut pending = std::mem::take(&mut self.pending).into_iter().peekable();
        while let Some(chunk) = pending.next() {
            let last = pending.peek().is_none();
            self.send_chunk(chunk, last).await?;
        }
        Ok((self.last_chunk, self.conflicts))
    }

    /// Sends a chunk. If it is too large for the target it is split.
    async fn send_chunk(&mut self, pending: PendingChunk, last: bool) -> Result<(), ReadError> {
        let mut parts = vec![pending];
        while let Some(PendingChunk { mut chunk, begin, end }) = parts.pop() {
            let last = last && parts.is_empty();
            let state = end.to_json()?;
            let place = ChunkPlace { last, append: self.append };
            match self
                .import
                .load(self.table_id, self.last_chunk + 1, &mut chunk, &state, place, &mut self.batch_size)
                .await
            {
                Ok(loaded) => {
                    self.last_chunk += 1;
                    self.conflicts = loaded.constraint_conflicts;
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
