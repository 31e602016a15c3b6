//! Taking a site in: a job on a target, and what is sent to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::ClientError;
use crate::adaptive_batch::{AdaptiveBatch, Budget};
use crate::client::{Call, Client, Form, StepResponse};
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::files::{Index, Root};
use crate::outgoing::{FileBatch, RowChunk};
use crate::retry::with_retries;
use crate::rows::{RowCount, RowDigest};

/// What a job may do, and with what.
#[derive(Debug, Clone, Serialize)]
pub struct JobOptions {
    /// What else is taken in than tables and files.
    pub allow: Vec<AllowedContent>,
    /// Whether `undo` must be possible after the swap.
    pub reversible: bool,
    /// The roots whose files are replaced.
    pub roots: Vec<Root>,
    /// Whether it takes the place of a job that nobody used for a quarter of an hour.
    pub replace: bool,
}

/// What a target need not take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedContent {
    /// Views.
    Views,
    /// Triggers.
    Triggers,
    /// Files in `uploads` that a web server may take for programs.
    PhpInUploads,
    /// The must-use plugin that keeps a copy harmless.
    SandboxPlugin,
}

/// That must-use plugin's file name.
pub const SANDBOX_PLUGIN_FILE: &str = "wpclone-sandbox.php";

/// A job as it stands.
#[derive(Debug, Clone, Deserialize)]
pub struct JobInfo {
    /// Whether it had begun before.
    pub resumed: bool,
    /// How far it is: `open`, `sealed`, `swapping`, `swapped`, `undoing` or `ending`.
    pub phase: String,
    /// The roots whose files it replaces, as it was begun with.
    #[serde(default)]
    pub roots: Vec<Root>,
    /// The tables that it has, and how far each came.
    pub tables: Vec<TableProgress>,
    /// What one request may bring.
    pub limits: JobLimits,
}

/// What one request of a job may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct JobLimits {
    /// The most time that a request may ask for, in milliseconds.
    pub budget_ms: u32,
    /// The most bytes of a request.
    pub bytes: u64,
    /// The longest packet of the database.
    pub max_allowed_packet: u64,
    /// How many requests may run at a time.
    pub parallel: u32,
}

/// How far a table came.
#[derive(Debug, Clone, Deserialize)]
pub struct TableProgress {
    /// Its number in the job.
    pub table_id: u32,
    /// Its name.
    pub name: String,
    /// The last chunk that was taken in.
    pub chunk: u32,
    /// Rows that were taken in.
    pub rows: u64,
    /// What came with that chunk.
    pub cursor: Option<Json>,
    /// Whether no more will come.
    pub complete: bool,
}

/// A definition that was taken.
#[derive(Debug, Clone, Deserialize)]
pub struct DefineResult {
    /// Its number in the job.
    pub table_id: u32,
    /// What had to be defined otherwise.
    pub adjustments: Vec<Adjustment>,
}

/// What had to be defined otherwise.
#[derive(Debug, Clone, Deserialize)]
pub struct Adjustment {
    /// Which part of the definition.
    pub field: String,
    /// What was asked for.
    pub from: Json,
    /// What it became.
    pub to: Json,
}

/// A chunk that was taken in.
#[derive(Debug, Clone, Deserialize)]
pub struct LoadResult {
    /// The chunk.
    pub chunk: u32,
    /// Rows of the whole table so far.
    pub rows: u64,
}

/// Parts of files that were taken in.
#[derive(Debug, Clone, Deserialize)]
pub struct StoreResult {
    /// How many.
    pub stored: u64,
    /// Those that were not.
    pub rejected: Vec<RejectedFile>,
}

/// A file that a target does not take.
#[derive(Debug, Clone, Deserialize)]
pub struct RejectedFile {
    /// Its root.
    pub root: String,
    /// Its path, as base64.
    pub path: String,
    /// What of it is refused.
    pub field: String,
}

#[derive(Deserialize)]
struct SwapResponse {
    done: bool,
    #[serde(default)]
    rejected: Vec<RejectedRoutine>,
}

/// A view or trigger.
#[derive(Deserialize)]
struct RejectedRoutine {
    name: String,
}

/// A job on a target.
#[derive(Debug, Clone)]
pub struct Import {
    client: Client,
    job: String,
    info: JobInfo,
}

impl Client {
    /// Begins a job (32 hex digits), or takes it up again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn begin(&self, job: &str, options: &JobOptions) -> Result<Import, ClientError> {
        let mut body = serde_json::to_value(options).map_err(|_| ClientError::Malformed("options"))?;
        body["job"] = job.into();
        let mut batch = AdaptiveBatch::new(3000);
        let body = &body;
        let ask = |_| async move { Ok((self.ask("begin", body, true).await?, 0)) };
        let info = with_retries(&mut batch, ask).await?;
        Ok(Import { client: self.clone(), job: job.to_owned(), info })
    }
}

impl Import {
    /// How the job stood when it was begun, or taken up.
    #[must_use]
    pub fn info(&self) -> &JobInfo {
        &self.info
    }

    /// A pace for this target.
    #[must_use]
    pub fn adaptive_batch(&self) -> AdaptiveBatch {
        let most = u32::try_from(self.info.limits.bytes / 2).unwrap_or(u32::MAX);
        AdaptiveBatch::new(self.info.limits.budget_ms).capped_at(most.min(AdaptiveBatch::MAX_BYTES))
    }

    /// An empty chunk for this job, in room that is used again.
    #[must_use]
    pub fn row_chunk(&self) -> RowChunk {
        RowChunk::new(self.client.pool.clone())
    }

    /// An empty parcel, likewise.
    #[must_use]
    pub fn file_batch(&self) -> FileBatch {
        FileBatch::new(self.client.pool.clone())
    }

    /// Makes a table, view or trigger, or finds that it is there. `recreate`: without what was loaded into it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn define(&self, definition: &Definition, recreate: bool) -> Result<DefineResult, ClientError> {
        self.ask("define", json!({"definition": definition, "recreate": recreate})).await
    }

    /// Sends a chunk; it is empty afterwards, unless it was too long. The same chunk sent again is not taken in twice.
    /// `state` comes back when the job is taken up again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn load(
        &self,
        table_id: u32,
        chunk_number: u32,
        chunk: &mut RowChunk,
        state: &Json,
        last: bool,
        batch: &mut AdaptiveBatch,
    ) -> Result<LoadResult, ClientError> {
        let parameters = json!({"job": self.job, "table_id": table_id, "chunk": chunk_number, "cursor": state, "last": last});
        let body = chunk.body(&parameters)?;
        let sent = self.send("load-rows", &body, batch).await;
        if matches!(sent, Err(ClientError::RequestTooLarge)) {
            chunk.restore(&body);
        }
        sent
    }

    /// Sends parts of files. A part that is sent again lands where it was.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn store(
        &self,
        mut parcel: FileBatch,
        batch: &mut AdaptiveBatch,
    ) -> Result<StoreResult, ClientError> {
        let body = parcel.frames.with(&json!({"job": self.job}))?;
        self.send("store-files", &body, batch).await
    }

    /// The index of what was stored in a root, from the cursor on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn staged(
        &self,
        root: Root,
        digests: bool,
        cursor: Option<&Cursor>,
        batch: &mut AdaptiveBatch,
    ) -> Result<Index, ClientError> {
        with_retries(batch, |Budget { bytes, ms }| async move {
            let body = json!({
                "job": self.job, "root": root, "digests": digests, "cursor": cursor, "bytes": bytes, "ms": ms,
            });
            let index = Index::parse(&self.client.frames("staged-index", &body).await?)?;
            let size = index.bytes;
            Ok((index, size))
        })
        .await
    }

    /// Counts all rows of a table that was taken in.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn checksum(&self, table_id: u32) -> Result<RowCount, ClientError> {
        let (mut rows, mut digest, mut cursor) = (0, RowDigest::default(), None::<Cursor>);
        loop {
            let ms = self.info.limits.budget_ms;
            let count: RowCount =
                self.ask("checksum", json!({"table_id": table_id, "cursor": cursor, "ms": ms})).await?;
            rows += count.rows;
            digest.combine(count.digest);
            if count.cursor.is_none() {
                return Ok(RowCount { rows, digest, cursor: None });
            }
            if count.cursor == cursor {
                return Err(ClientError::Malformed("a cursor that stays where it was"));
            }
            cursor = count.cursor;
        }
    }

    /// Adds foreign keys, and what the target must keep. Nothing is loaded or stored after it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn prepare(&self) -> Result<(), ClientError> {
        self.until_done("prepare").await
    }

    /// Puts what was taken in into the place of what is live. Gives the names of views and triggers that the database
    /// did not take.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn swap(&self) -> Result<Vec<String>, ClientError> {
        loop {
            let SwapResponse { done, rejected } =
                self.ask("swap", json!({"ms": self.info.limits.budget_ms})).await?;
            if done {
                return Ok(rejected.into_iter().map(|routine| routine.name).collect());
            }
        }
    }

    /// Takes the swap back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rollback(&self) -> Result<(), ClientError> {
        self.until_done("rollback").await
    }

    /// Drops what `undo` would need; the job has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn commit(&self) -> Result<(), ClientError> {
        self.until_ended("commit").await
    }

    /// Drops all that was taken in; the job has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn abort(&self) -> Result<(), ClientError> {
        self.until_ended("abort").await
    }

    /// A job that has ended is known no more: the answer that said so may have been lost.
    async fn until_ended(&self, route: &str) -> Result<(), ClientError> {
        match self.until_done(route).await {
            Err(error) if error.code() == Some("job_not_found") => Ok(()),
            done => done,
        }
    }

    async fn until_done(&self, route: &str) -> Result<(), ClientError> {
        loop {
            let StepResponse { done } = self.ask(route, json!({"ms": self.info.limits.budget_ms})).await?;
            if done {
                return Ok(());
            }
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
        with_retries(&mut batch, |_| async move { Ok((self.client.ask(route, body, true).await?, 0)) }).await
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        route: &str,
        body: &Bytes,
        batch: &mut AdaptiveBatch,
    ) -> Result<T, ClientError> {
        with_retries(batch, |_| async move {
            let call = Call { route, body: body.clone(), sends: Form::Frames, wants: Form::Json, long: true };
            match self.client.answered(&call).await {
                // The same again would be as long.
                Err(
                    ClientError::UnexpectedContent { status: 413 }
                    | ClientError::Unverified { status: 413, .. },
                ) => Err(ClientError::RequestTooLarge),
                answered => Ok((answered?, body.len())),
            }
        })
        .await
    }
}
