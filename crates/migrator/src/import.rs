//! Importing into a target: a job, and what is sent to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::ClientError;
use crate::adaptive_batch::AdaptiveBatch;
use crate::client::{Client, StepResponse};
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::error::{MigratorError, printable};
use crate::files::Root;
use crate::outgoing::{FileBatch, RowChunk};
use crate::paging::{Paging, Steps};
use crate::retry::with_retries;
use crate::rows::{RowCount, RowDigest, UniqueConflicts};
use crate::transport::{BodyFormat, RouteCall};

/// The maximum number of chunks of a table, so that the next number always exists.
const MAX_CHUNKS: u32 = u32::MAX / 2;
/// What a target may report for one request: adjustments of a definition; each is cut when it is shown.
const MAX_ADJUSTMENTS: usize = 100;

/// Options of a job.
#[derive(Debug, Clone, Serialize)]
pub struct JobOptions {
    /// What is imported besides tables and ordinary files.
    pub allow: Vec<AllowedContent>,
    /// Whether a rollback must be possible after the swap.
    pub reversible: bool,
    /// The roots whose files are replaced.
    pub roots: Vec<Root>,
    /// Whether to replace a job that has been idle for 15 minutes.
    pub replace: bool,
}

/// Content that a target imports only if allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedContent {
    /// Views.
    Views,
    /// Triggers.
    Triggers,
    /// Files in `uploads` that a web server may execute.
    PhpInUploads,
    /// The must-use plugin that sandboxes a copy.
    SandboxPlugin,
    /// Tables without the target's table prefix.
    UnprefixedTables,
}

/// The file name of that must-use plugin.
pub const SANDBOX_PLUGIN_FILE: &str = "wpclone-sandbox.php";

/// The state of a job.
#[derive(Debug, Clone, Deserialize)]
pub struct JobInfo {
    /// Whether the job existed before.
    pub resumed: bool,
    /// The phase: `open`, `prepared`, `swapping`, `swapped`, `rolling_back` or `cleaning_up`.
    pub phase: String,
    /// The roots whose files it replaces, as it was started with.
    #[serde(default)]
    pub roots: Vec<Root>,
    /// Its tables and their progress.
    pub tables: Vec<TableProgress>,
    /// Limits of its requests.
    pub limits: JobLimits,
}

/// Limits of a job's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct JobLimits {
    /// The longest time that a request may ask for, in milliseconds.
    pub budget_ms: u32,
    /// The maximum length of a request, in bytes.
    pub bytes: u64,
    /// The database's `max_allowed_packet`.
    pub max_allowed_packet: u64,
    /// How many requests may run at the same time.
    pub parallel: u32,
}

/// The progress of a table.
#[derive(Debug, Clone, Deserialize)]
pub struct TableProgress {
    /// Its id in the job.
    pub table_id: u32,
    /// Its name.
    pub name: String,
    /// The last chunk that was loaded.
    pub chunk: u32,
    /// Number of rows loaded.
    pub rows: u64,
    /// The cursor sent with that chunk.
    pub cursor: Option<Json>,
    /// Whether the last chunk was loaded.
    pub complete: bool,
    /// Rows that were loaded in their other form.
    #[serde(default)]
    pub unique_conflicts: UniqueConflicts,
}

/// The result of defining a table, view or trigger.
#[derive(Debug, Clone, Deserialize)]
pub struct DefineResult {
    /// Its id in the job.
    pub table_id: u32,
    /// What differs from the definition.
    pub adjustments: Vec<Adjustment>,
    /// The target's SHOW CREATE TABLE of a table; empty if it is very long.
    #[serde(default)]
    pub statement: String,
}

/// A difference from a definition.
#[derive(Debug, Clone, Deserialize)]
pub struct Adjustment {
    /// The path of the field in the definition.
    pub field: String,
    /// The requested value.
    pub from: Json,
    /// The value used instead.
    pub to: Json,
}

/// Where a chunk is among those of its table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Whether it is the last one.
    pub last: bool,
    /// Whether it may follow the last one.
    pub append: bool,
}

/// The result of loading a chunk.
#[derive(Debug, Clone, Deserialize)]
pub struct LoadResult {
    /// The chunk's number.
    pub chunk: u32,
    /// Number of rows of the whole table so far.
    pub rows: u64,
    /// Rows of the whole table so far that were loaded in their other form.
    #[serde(default)]
    pub unique_conflicts: UniqueConflicts,
}

/// The result of storing parts of files.
#[derive(Debug, Clone, Deserialize)]
pub struct StoreResult {
    /// Number of parts stored.
    pub stored: u64,
    /// The rejected ones.
    pub rejected: Vec<RejectedFile>,
}

/// A file that a target rejected.
#[derive(Debug, Clone, Deserialize)]
pub struct RejectedFile {
    /// Its root.
    pub root: String,
    /// Its path, as base64.
    pub path: String,
    /// The field that was not acceptable: `root`, `path`, `kind` or `php`.
    pub field: String,
}

#[derive(Deserialize)]
struct SwapResponse {
    done: bool,
    #[serde(default)]
    rejected: Vec<RejectedObject>,
}

/// What the target's database rejected when the content was swapped in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RejectedObject {
    /// `view`, `trigger`, `foreign_key`, or `default` for a column that a sequence numbers.
    #[serde(default, deserialize_with = "printable")]
    pub kind: String,
    /// Its name; for a foreign key or default the table's name, a dot, and its own or the column's.
    pub name: String,
    /// The number of the database's error.
    #[serde(default)]
    pub errno: u32,
    /// What the database says.
    #[serde(default, deserialize_with = "printable")]
    pub message: String,
}

impl RejectedObject {
    /// The error that creating it gave.
    #[must_use]
    pub fn error(&self) -> ClientError {
        let error = Box::new(MigratorError::of_database(self.errno, &self.message));
        ClientError::Migrator { status: 200, error }
    }
}

/// An import job on a target.
#[derive(Debug, Clone)]
pub struct Import {
    pub(crate) client: Client,
    pub(crate) job: String,
    info: JobInfo,
}

impl Client {
    /// Starts a job (32 hex digits), or resumes it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn begin(&self, job: &str, options: &JobOptions) -> Result<Import, ClientError> {
        let mut body = serde_json::to_value(options).map_err(|_| ClientError::Malformed("options"))?;
        body["job"] = job.into();
        let mut batch = AdaptiveBatch::new(3000);
        let body = &body;
        let attempt = |_| async move { Ok((self.post_json("begin", body, true).await?, 0)) };
        let info: JobInfo = with_retries(&mut batch, attempt).await?;
        if info.tables.iter().any(|table| table.chunk > MAX_CHUNKS) {
            return Err(ClientError::Malformed("the progress of a job"));
        }
        Ok(Import { client: self.clone(), job: job.to_owned(), info })
    }
}

impl Import {
    /// The state of the job when it was started or resumed.
    #[must_use]
    pub fn info(&self) -> &JobInfo {
        &self.info
    }

    /// An initial batch size for this target.
    #[must_use]
    pub fn adaptive_batch(&self) -> AdaptiveBatch {
        let most = u32::try_from(self.info.limits.bytes / 2).unwrap_or(u32::MAX);
        AdaptiveBatch::new(self.info.limits.budget_ms).capped_at(most.min(AdaptiveBatch::MAX_BYTES))
    }

    /// An empty chunk with a buffer of the client's pool.
    #[must_use]
    pub fn row_chunk(&self) -> RowChunk {
        RowChunk::new(self.client.pool.clone())
    }

    /// An empty batch of files with a buffer of the client's pool.
    #[must_use]
    pub fn file_batch(&self) -> FileBatch {
        FileBatch::new(self.client.pool.clone())
    }

    /// Creates a table, view or trigger, or finds that it exists. `recreate`: drops rows that were loaded before.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn define(&self, definition: &Definition, recreate: bool) -> Result<DefineResult, ClientError> {
        let mut defined: DefineResult =
            self.ask("define", json!({"definition": definition, "recreate": recreate})).await?;
        defined.adjustments.truncate(MAX_ADJUSTMENTS);
        self.client.record_progress(1);
        Ok(defined)
    }

    /// Drops a staged table, or forgets one that could not be created: the job goes on without it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn omit(&self, table: &str) -> Result<(), ClientError> {
        let StepResponse { done: _ } = self.ask("omit", json!({"table": table})).await?;
        self.client.record_progress(1);
        Ok(())
    }

    /// Sends a chunk and leaves it empty, unless it was too long. A chunk that is sent again is not loaded twice. `state` is
    /// returned when the job is resumed. `place`: whether it is the last chunk, or added after the last one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn load(
        &self,
        table_id: u32,
        chunk_number: u32,
        chunk: &mut RowChunk,
        state: &Json,
        place: ChunkPlace,
        batch: &mut AdaptiveBatch,
    ) -> Result<LoadResult, ClientError> {
        let ChunkPlace { last, append } = place;
        let parameters = json!({
            "job": self.job, "table_id": table_id, "chunk": chunk_number, "cursor": state, "last": last,
            "append": append,
        });
        let parts = chunk.part_count();
        let body = chunk.body(&parameters)?;
        let sent = self.send("load-rows", &body, batch).await;
        if sent.is_ok() {
            self.client.record_progress(parts);
        }
        if matches!(sent, Err(ClientError::RequestTooLarge)) {
            chunk.restore(&body);
        }
        sent
    }

    /// Sends parts of files. A part that is sent again is written to the same place.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn store(
        &self,
        mut files: FileBatch,
        batch: &mut AdaptiveBatch,
    ) -> Result<StoreResult, ClientError> {
        let body = files.frames.with(&json!({"job": self.job}))?;
        let stored: StoreResult = self.send("store-files", &body, batch).await?;
        if stored.rejected.len() as u64 > files.parts {
            return Err(ClientError::Malformed("rejections of files that were not sent"));
        }
        self.client.record_progress(files.parts);
        Ok(stored)
    }

    /// Counts all rows of a staged table, of which there should be at most `max_rows`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn checksum(&self, table_id: u32, max_rows: u64) -> Result<RowCount, ClientError> {
        let (mut rows, mut digest, mut cursor) = (0_u64, RowDigest::default(), None::<Cursor>);
        let mut paging = Paging::new("a checksum", max_rows);
        loop {
            let ms = self.info.limits.budget_ms;
            let count: RowCount =
                self.ask("checksum", json!({"table_id": table_id, "cursor": cursor, "ms": ms})).await?;
            paging.page(count.rows, cursor.as_ref(), count.cursor.as_ref())?;
            self.client.record_progress(count.rows);
            rows = rows.saturating_add(count.rows);
            digest.combine(count.digest);
            if count.cursor.is_none() {
                return Ok(RowCount { rows, digest, cursor: None });
            }
            cursor = count.cursor;
        }
    }

    /// Adds foreign keys and preserves the plugin's options. Afterwards nothing can be loaded or stored.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn prepare(&self) -> Result<(), ClientError> {
        self.until_done("prepare").await
    }

    /// Replaces the live content by the staged one. Returns what the database rejected.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn swap(&self) -> Result<Vec<RejectedObject>, ClientError> {
        let mut steps = Steps::new("swap");
        loop {
            let SwapResponse { done, rejected } =
                self.ask("swap", json!({"ms": self.info.limits.budget_ms})).await?;
            self.client.record_progress(1);
            if done {
                return Ok(rejected);
            }
            steps.not_done()?;
        }
    }

    /// Rolls the swap back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rollback(&self) -> Result<(), ClientError> {
        self.until_done("rollback").await
    }

    /// Commits the swap: deletes the previous content. Ends the job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn commit(&self) -> Result<(), ClientError> {
        self.until_ended("commit").await
    }

    /// Deletes everything that was staged. Ends the job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn abort(&self) -> Result<(), ClientError> {
        self.until_ended("abort").await
    }

    /// A job that has ended is unknown; the response that said so may have been lost.
    async fn until_ended(&self, route: &'static str) -> Result<(), ClientError> {
        match self.until_done(route).await {
            Err(error) if error.code() == Some("job_not_found") => Ok(()),
            done => done,
        }
    }

    async fn until_done(&self, route: &'static str) -> Result<(), ClientError> {
        let mut steps = Steps::new(route);
        loop {
            let StepResponse { done } = self.ask(route, json!({"ms": self.info.limits.budget_ms})).await?;
            self.client.record_progress(1);
            if done {
                return Ok(());
            }
            steps.not_done()?;
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        route: &str,
        mut body: Json,
    ) -> Result<T, ClientError> {
        body["job"] = self.job.as_str().into();
        let mut batch = AdaptiveBatch::new(self.info.limits.budget_ms);
        let body = &body;
        with_retries(&mut batch, |_| async move { Ok((self.client.post_json(route, body, true).await?, 0)) })
            .await
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        route: &str,
        body: &Bytes,
        batch: &mut AdaptiveBatch,
    ) -> Result<T, ClientError> {
        with_retries(batch, |_| async move {
            let call = RouteCall {
                route,
                body: body.clone(),
                request_format: BodyFormat::Frames,
                response_format: BodyFormat::Json,
                transfers_content: true,
            };
            match self.client.send(&call).await {
                // A retry would be just as long.
                Err(
                    ClientError::UnexpectedContent { status: 413 }
                    | ClientError::Unverified { status: 413, .. },
                ) => Err(ClientError::RequestTooLarge),
                sent => Ok((sent?, body.len())),
            }
        })
        .await
    }
}
