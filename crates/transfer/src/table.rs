//! One table, from the source to the target: read, mended, sent on, counted on both sides.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    AdaptiveBatch, Client, ClientError, Cursor, Definition, Import, RowChunk, RowCount, Rows, Table,
    TableProgress,
};
use wpclone_rewrite::{PrefixMapping, Report, Rewriter};

use crate::checkpoint::Checkpoint;
use crate::error::TransferError;
use crate::fidelity::TableFidelity;
use crate::progress::TransferProgress;
use crate::row_stream::{Counts, RowChanged, RowStream, Unit};
use crate::row_transformer::RowTransformer;

/// The most bytes of rows that are asked for at a time: two answers of each table in flight are held.
const MOST_ROWS: u32 = 3 << 20;
/// The most bytes of rows that are sent at a time.
const MOST_SENT: u32 = 3 << 20;
/// How often a table that moves is read.
const READINGS: u32 = 3;

/// A table that moves.
pub(crate) struct TableMove<'a> {
    pub(crate) source: &'a Client,
    pub(crate) import: &'a Import,
    /// As the source defines it.
    pub(crate) table: &'a Table,
    /// As the target is to define it.
    pub(crate) definition: Definition,
    /// Its name without the source's prefix.
    pub(crate) base: &'a str,
    /// Plugins that are not active in the copy.
    pub(crate) deactivated_plugins: &'a [String],
    pub(crate) rewriter: &'a Rewriter,
    pub(crate) prefix: Option<&'a PrefixMapping>,
    /// What it is sent as. What was sent as something else is sent anew.
    pub(crate) fingerprint: String,
    /// How long a request may take on the source (`limits.budget_ms`).
    pub(crate) budget_ms: u32,
    pub(crate) progress: &'a TransferProgress,
    pub(crate) cancel: &'a CancellationToken,
}

/// What came of a table.
pub(crate) struct Moved {
    pub(crate) fidelity: TableFidelity,
    pub(crate) report: Report,
    /// Values that were too large to look into.
    pub(crate) too_large: u64,
}

/// Why a reading has to begin again.
enum Broken {
    /// The source's rows moved while they were read.
    Moved,
    Failed(TransferError),
}

impl From<TransferError> for Broken {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

impl From<RowChanged> for Broken {
    fn from(_: RowChanged) -> Self {
        Self::Moved
    }
}

impl TableMove<'_> {
    /// Moves it; one whose rows moved meanwhile is read again, a few times.
    pub(crate) async fn run(&self, progress: Option<&TableProgress>) -> Result<Moved, TransferError> {
        let mut resumed = progress.cloned();
        for reading in 0..READINGS {
            let last = reading + 1 == READINGS;
            match self.reading(resumed.take(), reading, last).await {
                Ok(moved) => return Ok(moved),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Moved) => {
                    tracing::info!(table = self.table.name, reading, "the table moved while it was read")
                }
            }
        }
        Err(TransferError::Verification(format!(
            "The table {} changed again and again in the middle of a row while it was read.",
            self.table.name
        )))
    }

    async fn reading(
        &self,
        resumed: Option<TableProgress>,
        reading: u32,
        last: bool,
    ) -> Result<Moved, Broken> {
        let place = resumed.as_ref().and_then(|progress| Checkpoint::read(progress.cursor.as_ref()?));
        let (place, seq, anew) = match (place, &resumed) {
            (Some(place), Some(progress))
                if place.ended == progress.complete && place.fingerprint == self.fingerprint =>
            {
                (place, progress.chunk, false)
            }
            // What was loaded at a place that nobody can tell is not built upon.
            _ => (Checkpoint::first(&self.fingerprint), 0, true),
        };
        let resumed_rows = place.source_rows;
        let defined = self.import.define(&self.definition, anew).await.map_err(TransferError::Target)?;
        let counts = if place.ended {
            self.progress.skip_bytes(self.table.estimated_bytes());
            // Sent whole by an attempt before; whether it is still the same, counting tells.
            let mut counts = Counts::default();
            place.restore(&mut counts);
            counts
        } else {
            self.send(defined.table_id, place, seq).await?
        };
        let (source, target) = tokio::join!(self.count_source(), self.import.checksum(defined.table_id));
        let (source, target) = (source?, target.map_err(TransferError::Target)?);
        let settled = (source.rows, source.digest) == (counts.source_rows, counts.source_digest);
        if !settled && !last {
            return Err(Broken::Moved);
        }
        if (target.rows, target.digest) != (counts.target_rows, counts.target_digest) {
            if !anew && !last {
                // Rows that were passed over, since they had been sent, may have changed in between.
                return Err(Broken::Moved);
            }
            return Err(Broken::Failed(TransferError::Verification(format!(
                "The target has {} rows in {}, and {} were sent; or they are not the same.",
                target.rows,
                self.definition.name(),
                counts.target_rows
            ))));
        }
        let mut moved = self.moved(counts, &target, reading, settled, &defined.adjustments);
        moved.fidelity.resumed_rows = resumed_rows;
        Ok(moved)
    }

    fn moved(
        &self,
        counts: Counts,
        target: &RowCount,
        reading: u32,
        settled: bool,
        adjusted: &[wpclone_migrator::Adjustment],
    ) -> Moved {
        let (name, new) = (&self.table.name, self.definition.name());
        let next = |table: &Table| table.auto_increment.unwrap_or_default();
        let ahead = match &self.definition {
            Definition::Table(defined) => next(defined).saturating_sub(next(self.table)),
            _ => 0,
        };
        let adjusted =
            adjusted.iter().map(|part| format!("{}: {} became {}", part.field, part.from, part.to));
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
            auto_increment_offset: ahead,
            rereads: reading,
            consistent: settled,
            adjustments: adjusted.collect(),
        };
        Moved { fidelity, report: counts.report, too_large: counts.too_large }
    }

    async fn count_source(&self) -> Result<RowCount, TransferError> {
        let mut pace = AdaptiveBatch::new(self.budget_ms);
        self.source.full_checksum(&self.table.name, &mut pace).await.map_err(TransferError::Source)
    }

    /// Sends all rows from a place on.
    async fn send(&self, n: u32, place: Checkpoint, seq: u32) -> Result<Counts, Broken> {
        let (give, take) = mpsc::channel(1);
        let read = self.read(place.cursor.clone(), give);
        let write = self.write(n, place, seq, take);
        // Whoever ends first ends the other: the channel closes.
        let ((), counts) = tokio::join!(read, write);
        counts
    }

    /// Reads ahead by one answer: one that has come and was not taken holds the next one up.
    async fn read(&self, from: Option<Cursor>, give: mpsc::Sender<Result<Rows, ClientError>>) {
        let pace = AdaptiveBatch::new(self.budget_ms).capped_at(MOST_ROWS);
        let mut rows = self.source.row_stream(&self.table.name, from, pace);
        while let Ok(place) = give.reserve().await {
            let next = tokio::select! {
                next = rows.next() => next,
                () = give.closed() => return,
            };
            let ended = next.is_err();
            let Some(next) = next.transpose() else { return };
            place.send(next);
            if ended {
                return;
            }
        }
    }

    async fn write(
        &self,
        n: u32,
        place: Checkpoint,
        seq: u32,
        mut take: mpsc::Receiver<Result<Rows, ClientError>>,
    ) -> Result<Counts, Broken> {
        let mut units = RowStream::new(
            RowTransformer::new(self.table, self.base, self.rewriter, self.prefix)
                .without(self.deactivated_plugins),
        );
        place.restore(&mut units.counts);
        let mut writer = Writer::new(self.import, n, seq, place);
        while let Some(rows) = take.recv().await {
            if self.cancel.is_cancelled() {
                return Err(TransferError::Cancelled.into());
            }
            let rows = rows.map_err(source_error)?;
            if !rows.header.columns.iter().eq(self.table.transferred_columns().map(|column| &column.name)) {
                let detail = format!("The columns of {} changed while it was read.", self.table.name);
                return Err(TransferError::Verification(detail).into());
            }
            for part in rows.parts() {
                let part = part.map_err(TransferError::Source)?;
                units.take(&part, &mut |unit| writer.add(&unit))?;
                writer.send().await?;
            }
            units.answered(rows.count.rows, rows.count.digest);
            self.progress.add_rows(rows.count.rows, rows.len() as u64);
            if units.is_settled()
                && let Some(cursor) = &rows.count.cursor
            {
                writer.at(Checkpoint::of(&self.fingerprint, Some(cursor.clone()), &units.counts));
            }
        }
        if !units.is_settled() {
            return Err(Broken::Moved);
        }
        writer.end(Checkpoint::of(&self.fingerprint, None, &units.counts)).await?;
        Ok(units.counts)
    }
}

/// What a source says; some of it only means that rows moved meanwhile.
fn source_error(error: ClientError) -> Broken {
    match error.code() {
        Some("gone") => Broken::Moved,
        _ => Broken::Failed(TransferError::Source(error)),
    }
}

/// What a target says; some of it only means that the table has to be sent anew.
fn target_error(error: ClientError) -> Broken {
    match error.code() {
        Some("restart_table") => Broken::Moved,
        _ => Broken::Failed(TransferError::Target(error)),
    }
}

/// Sends units in chunks, each with the place that the transfer would be taken up at after it.
struct Writer<'a> {
    import: &'a Import,
    n: u32,
    /// The last chunk that was taken in.
    seq: u32,
    /// The last place between two rows at which the source can go on.
    place: Checkpoint,
    /// RowStream since then, those that were sent before a break among them.
    since: u64,
    /// How many of the next ones were sent before a break.
    skip: u64,
    chunk: RowChunk,
    /// The place before the chunk.
    begin: Checkpoint,
    full: Vec<Full>,
    pace: AdaptiveBatch,
}

/// A chunk to be sent, and the places before and after it.
struct Full {
    chunk: RowChunk,
    begin: Checkpoint,
    end: Checkpoint,
}

impl<'a> Writer<'a> {
    fn new(import: &'a Import, n: u32, seq: u32, place: Checkpoint) -> Self {
        let (skip, pace) = (place.units, import.adaptive_batch().capped_at(MOST_SENT));
        let (chunk, begin, full) = (import.row_chunk(), place.clone(), Vec::new());
        Self { import, n, seq, place, since: 0, skip, chunk, begin, full, pace }
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
        }
        if self.chunk.len() >= self.pace.budget().bytes as usize {
            self.close();
        }
    }

    /// All units so far belong to what is before this place.
    fn at(&mut self, place: Checkpoint) {
        (self.place, self.since) = (place, 0);
    }

    fn close(&mut self) {
        let end = Checkpoint { units: self.since, ..self.place.clone() };
        let begin = std::mem::replace(&mut self.begin, end.clone());
        self.full.push(Full {
            chunk: std::mem::replace(&mut self.chunk, self.import.row_chunk()),
            begin,
            end,
        });
    }

    /// Sends what is full.
    async fn send(&mut self) -> Result<(), Broken> {
        for full in std::mem::take(&mut self.full) {
            self.load(full, false).await?;
        }
        Ok(())
    }

    /// Sends what is left, and that there is no more.
    async fn end(&mut self, place: Checkpoint) -> Result<(), Broken> {
        self.at(place);
        self.close();
        let mut full = std::mem::take(&mut self.full).into_iter().peekable();
        while let Some(chunk) = full.next() {
            let last = full.peek().is_none();
            self.load(chunk, last).await?;
        }
        Ok(())
    }

    /// Sends a chunk; one that is too long for the target, in parts.
    async fn load(&mut self, full: Full, last: bool) -> Result<(), Broken> {
        let mut parts = vec![full];
        while let Some(Full { mut chunk, begin, end }) = parts.pop() {
            let last = last && parts.is_empty();
            let state = end.text()?;
            match self.import.load(self.n, self.seq + 1, &mut chunk, &state, last, &mut self.pace).await {
                Ok(_) => self.seq += 1,
                Err(ClientError::RequestTooLarge) => {
                    self.pace.record_failure(true);
                    let (first, second) =
                        chunk.split().ok_or(TransferError::Target(ClientError::RequestTooLarge))?;
                    let middle = Checkpoint { units: begin.units + first.part_count(), ..begin.clone() };
                    parts.push(Full { chunk: second, begin: middle.clone(), end });
                    parts.push(Full { chunk: first, begin, end: middle });
                }
                Err(error) => return Err(target_error(error)),
            }
        }
        Ok(())
    }
}
