//! Importing into a target: what is sent to a job.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::ClientError;
use crate::adaptive_batch::AdaptiveBatch;
use crate::client::{Client, StepResponse};
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::import_job::{
    ChunkPlace, DefineResult, JobInfo, JobOptions, LoadResult, RejectedObject, StoreResult,
};
use crate::outgoing::{FileBatch, RowChunk};
use crate::paging::{Paging, Steps};
use crate::retry::with_retries;
use crate::rows::{RowCount, RowDigest};
use crate::transport::{BodyFormat, MAX_JSON_BYTES, RouteCall};

/// The maximum number of chunks of a table, so that the next number always exists.
const MAX_CHUNKS: u32 = u32::MAX / 2;
/// The maximum length of the state of a job: each of its tables has a checkpoint of some 600 bytes.
const MAX_JOB_BYTES: usize = 8 * 1024 * 1024;

/// An import job on a target.
#[derive(Debug, Clone)]
pub struct Import {
    pub(crate) client: Client,
    pub(crate) job: String,
    info: JobInfo,
}

#[derive(Deserialize)]
struct SwapResponse {
    done: bool,
    #[serde(default)]
    rejected: Vec<RejectedObject>,
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
        let call = &RouteCall { max_json_bytes: MAX_JOB_BYTES, ..RouteCall::json("begin", &body, true)? };
        let attempt = |_| async move { Ok((self.send(call).await?, 0)) };
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
        let defined: DefineResult =
            self.ask("define", json!({"definition": definition, "recreate": recreate})).await?;
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
                max_json_bytes: MAX_JSON_BYTES,
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
