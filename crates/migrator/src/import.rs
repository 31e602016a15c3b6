//! Taking a site in: a job on a target, and what is sent to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::ClientError;
use crate::client::{Call, Client, Done, Form};
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::files::{Index, Root};
use crate::pace::{Budget, Pace, patiently};
use crate::rows::{Count, RowDigest};
use crate::sending::{Chunk, Parcel};

/// What a job may do, and with what.
#[derive(Debug, Clone, Serialize)]
pub struct JobOptions {
    /// What else is taken in than tables and files.
    pub allow: Vec<Allowed>,
    /// Whether `undo` must be possible after the swap.
    pub undo: bool,
    /// The roots whose files are replaced.
    pub roots: Vec<Root>,
    /// Whether it takes the place of a job that nobody used for a quarter of an hour.
    pub replace: bool,
}

/// What a target need not take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// Views.
    Views,
    /// Triggers.
    Triggers,
    /// Files in `uploads` that a web server may take for programs.
    PhpInUploads,
    /// The must-use plugin that keeps a copy harmless.
    Harmless,
}

/// That must-use plugin's file name.
pub const HARMLESS_FILE: &str = "wpclone-harmless.php";

/// A job as it stands.
#[derive(Debug, Clone, Deserialize)]
pub struct Begun {
    /// Whether it had begun before.
    pub resumed: bool,
    /// How far it is: `open`, `sealed`, `swapping`, `swapped`, `undoing` or `ending`.
    pub phase: String,
    /// The roots whose files it replaces, as it was begun with.
    #[serde(default)]
    pub roots: Vec<Root>,
    /// The tables that it has, and how far each came.
    pub tables: Vec<Progress>,
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
pub struct Progress {
    /// Its number in the job.
    pub n: u32,
    /// Its name.
    pub name: String,
    /// The last chunk that was taken in.
    pub seq: u32,
    /// Rows that were taken in.
    pub rows: u64,
    /// What came with that chunk.
    pub cursor: Option<Json>,
    /// Whether no more will come.
    pub done: bool,
}

/// A definition that was taken.
#[derive(Debug, Clone, Deserialize)]
pub struct Defined {
    /// Its number in the job.
    pub n: u32,
    /// What had to be defined otherwise.
    pub adjusted: Vec<Adjusted>,
}

/// What had to be defined otherwise.
#[derive(Debug, Clone, Deserialize)]
pub struct Adjusted {
    /// Which part of the definition.
    pub member: String,
    /// What was asked for.
    pub from: Json,
    /// What it became.
    pub to: Json,
}

/// A chunk that was taken in.
#[derive(Debug, Clone, Deserialize)]
pub struct Loaded {
    /// The chunk.
    pub seq: u32,
    /// Rows of the whole table so far.
    pub rows: u64,
}

/// Parts of files that were taken in.
#[derive(Debug, Clone, Deserialize)]
pub struct Stored {
    /// How many.
    pub stored: u64,
    /// Those that were not.
    pub refused: Vec<RefusedFile>,
}

/// A file that a target does not take.
#[derive(Debug, Clone, Deserialize)]
pub struct RefusedFile {
    /// Its root.
    pub root: String,
    /// Its path, as base64.
    pub path: String,
    /// What of it is refused.
    pub member: String,
}

#[derive(Deserialize)]
struct Swapped {
    done: bool,
    #[serde(default)]
    left: Vec<Routine>,
}

/// A view or trigger.
#[derive(Deserialize)]
struct Routine {
    name: String,
}

/// A job on a target.
#[derive(Debug, Clone)]
pub struct Import {
    client: Client,
    job: String,
    begun: Begun,
}

impl Client {
    /// Begins a job (32 hex digits), or takes it up again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn begin(&self, job: &str, options: &JobOptions) -> Result<Import, ClientError> {
        let mut body = serde_json::to_value(options).map_err(|_| ClientError::Malformed("options"))?;
        body["job"] = job.into();
        let mut pace = Pace::new(3000);
        let body = &body;
        let ask = |_| async move { Ok((self.ask("begin", body, true).await?, 0)) };
        let begun = patiently(&mut pace, ask).await?;
        Ok(Import { client: self.clone(), job: job.to_owned(), begun })
    }
}

impl Import {
    /// How the job stood when it was begun, or taken up.
    #[must_use]
    pub fn begun(&self) -> &Begun {
        &self.begun
    }

    /// A pace for this target.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let most = u32::try_from(self.begun.limits.bytes / 2).unwrap_or(u32::MAX);
        Pace::new(self.begun.limits.budget_ms).at_most(most.min(Pace::MOST))
    }

    /// An empty chunk for this job, in room that is used again.
    #[must_use]
    pub fn chunk(&self) -> Chunk {
        Chunk::new(self.client.pool.clone())
    }

    /// An empty parcel, likewise.
    #[must_use]
    pub fn parcel(&self) -> Parcel {
        Parcel::new(self.client.pool.clone())
    }

    /// Makes a table, view or trigger, or finds that it is there. `anew`: without what was loaded into it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn define(&self, definition: &Definition, anew: bool) -> Result<Defined, ClientError> {
        self.ask("table", json!({"table": definition, "anew": anew})).await
    }

    /// Sends a chunk; it is empty afterwards, unless it was too long. The same chunk sent again is not taken in twice.
    /// `state` comes back when the job is taken up again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn load(
        &self,
        n: u32,
        seq: u32,
        chunk: &mut Chunk,
        state: &Json,
        last: bool,
        pace: &mut Pace,
    ) -> Result<Loaded, ClientError> {
        let parameters = json!({"job": self.job, "n": n, "seq": seq, "cursor": state, "last": last});
        let body = chunk.body(&parameters)?;
        let sent = self.send("load", &body, pace).await;
        if matches!(sent, Err(ClientError::TooLong)) {
            chunk.take_back(&body);
        }
        sent
    }

    /// Sends parts of files. A part that is sent again lands where it was.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn store(&self, mut parcel: Parcel, pace: &mut Pace) -> Result<Stored, ClientError> {
        let body = parcel.frames.with(&json!({"job": self.job}))?;
        self.send("store", &body, pace).await
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
        pace: &mut Pace,
    ) -> Result<Index, ClientError> {
        patiently(pace, |Budget { bytes, ms }| async move {
            let body = json!({
                "job": self.job, "root": root, "digests": digests, "cursor": cursor, "bytes": bytes, "ms": ms,
            });
            let index = Index::parse(&self.client.frames("staged", &body).await?)?;
            let size = index.bytes;
            Ok((index, size))
        })
        .await
    }

    /// Counts all rows of a table that was taken in.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn checksum(&self, n: u32) -> Result<Count, ClientError> {
        let (mut rows, mut digest, mut cursor) = (0, RowDigest::default(), None::<Cursor>);
        loop {
            let ms = self.begun.limits.budget_ms;
            let count: Count = self.ask("checksum", json!({"n": n, "cursor": cursor, "ms": ms})).await?;
            rows += count.rows;
            digest.join(count.digest);
            if count.cursor.is_none() {
                return Ok(Count { rows, digest, cursor: None });
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
    pub async fn seal(&self) -> Result<(), ClientError> {
        self.until_done("seal").await
    }

    /// Puts what was taken in into the place of what is live. Gives the names of views and triggers that the database
    /// did not take.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn swap(&self) -> Result<Vec<String>, ClientError> {
        loop {
            let Swapped { done, left } = self.ask("swap", json!({"ms": self.begun.limits.budget_ms})).await?;
            if done {
                return Ok(left.into_iter().map(|routine| routine.name).collect());
            }
        }
    }

    /// Takes the swap back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn undo(&self) -> Result<(), ClientError> {
        self.until_done("undo").await
    }

    /// Drops what `undo` would need; the job has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn forget(&self) -> Result<(), ClientError> {
        self.until_ended("forget").await
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
            Err(error) if error.code() == Some("no_job") => Ok(()),
            done => done,
        }
    }

    async fn until_done(&self, route: &str) -> Result<(), ClientError> {
        loop {
            let Done { done } = self.ask(route, json!({"ms": self.begun.limits.budget_ms})).await?;
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
        let mut pace = Pace::new(self.begun.limits.budget_ms);
        let body = &body;
        patiently(&mut pace, |_| async move { Ok((self.client.ask(route, body, true).await?, 0)) }).await
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        route: &str,
        body: &Bytes,
        pace: &mut Pace,
    ) -> Result<T, ClientError> {
        patiently(pace, |_| async move {
            let call = Call { route, body: body.clone(), sends: Form::Frames, wants: Form::Json, long: true };
            match self.client.answered(&call).await {
                // The same again would be as long.
                Err(ClientError::NotOurs { status: 413 } | ClientError::Unproven { status: 413, .. }) => {
                    Err(ClientError::TooLong)
                }
                answered => Ok((answered?, body.len())),
            }
        })
        .await
    }
}
