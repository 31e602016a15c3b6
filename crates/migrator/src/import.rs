//! Taking a site in: a job on a target, and what is sent to it.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::ClientError;
use crate::client::{Call, Client, Done, Form};
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::files::{Index, Root};
use crate::frames::{MOST_PAYLOAD, Writer};
use crate::pace::{Budget, Pace, patiently};
use crate::rows::{Count, RowDigest, Value, write_row};

/// The most bytes of rows in one frame, so that a target holds little at a time.
const FRAME: usize = 256 * 1024;

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
}

/// A job as it stands.
#[derive(Debug, Clone, Deserialize)]
pub struct Begun {
    /// Whether it had begun before.
    pub resumed: bool,
    /// How far it is: `open`, `sealed`, `swapping`, `swapped`, `undoing` or `ending`.
    pub phase: String,
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

/// Rows and pieces on their way to a target.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Whole frames.
    frames: Vec<u8>,
    /// Where each of them ends, and how many rows and pieces there are up to there.
    ends: Vec<(usize, u64)>,
    /// Rows of the frame that is open.
    rows: Vec<u8>,
    /// Rows and pieces.
    units: u64,
}

impl Chunk {
    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len() + self.rows.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and pieces in it.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Two chunks of half the length, or about; `None` when it cannot be cut.
    #[must_use]
    pub fn halves(mut self) -> Option<(Self, Self)> {
        self.close();
        let middle = self.ends.len() / 2;
        let (at, units) = *self.ends.get(middle.checked_sub(1)?)?;
        let later = self.ends.split_off(middle).into_iter().map(|(end, n)| (end - at, n - units));
        let second = Self {
            frames: self.frames.split_off(at),
            ends: later.collect(),
            rows: Vec::new(),
            units: self.units - units,
        };
        Some((Self { units, ..self }, second))
    }

    /// Adds a row, as [`write_row`] writes it. `whole`: whether none of its values follows in pieces.
    pub fn row(&mut self, bytes: &[u8], whole: bool) {
        if self.rows.len() + bytes.len() > FRAME {
            self.close();
        }
        self.rows.extend_from_slice(bytes);
        self.units += 1;
        if !whole {
            self.close();
        }
    }

    /// Adds a piece of a large value of the last row.
    pub fn piece(&mut self, column: u16, offset: u64, bytes: &[u8]) {
        self.close();
        frame(&mut self.frames, b'P', &[&column.to_be_bytes(), &offset.to_be_bytes(), bytes]);
        self.units += 1;
        self.ends.push((self.frames.len(), self.units));
    }

    fn close(&mut self) {
        if !self.rows.is_empty() {
            frame(&mut self.frames, b'R', &[&self.rows]);
            self.rows.clear();
            self.ends.push((self.frames.len(), self.units));
        }
    }

    fn body(&mut self, parameters: &Json) -> Vec<u8> {
        self.close();
        let mut body = Writer::new(parameters).into_bytes();
        body.extend_from_slice(&self.frames);
        body
    }
}

/// Adds a row of these values to `to`, and gives its bytes.
pub fn row_bytes<'t>(to: &'t mut Vec<u8>, values: &[Value<'_>]) -> &'t [u8] {
    let begin = to.len();
    write_row(to, values);
    &to[begin..]
}

fn frame(to: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    debug_assert!(size <= MOST_PAYLOAD, "callers keep frames small");
    to.push(kind);
    to.extend((size as u32).to_be_bytes());
    for part in parts {
        to.extend_from_slice(part);
    }
}

/// A part of a file on its way to a target.
#[derive(Debug, Clone, Copy)]
pub struct StoredPart<'a> {
    /// Its root.
    pub root: Root,
    /// Its path below the root.
    pub path: &'a [u8],
    /// Whether it is a folder.
    pub folder: bool,
    /// Whether nothing of the file comes after it.
    pub last: bool,
    /// Permissions.
    pub mode: u16,
    /// Bytes of the whole file.
    pub size: u64,
    /// Time of change, in Unix seconds.
    pub mtime: u64,
    /// Where the part begins.
    pub offset: u64,
}

/// Parts of files on their way to a target.
#[derive(Debug, Default)]
pub struct Parcel {
    frames: Vec<u8>,
    parts: u64,
}

impl Parcel {
    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// Adds a part and its bytes.
    pub fn part(&mut self, part: &StoredPart<'_>, bytes: &[&[u8]]) {
        let head = [part.root as u8, u8::from(part.folder) | u8::from(part.last) << 1];
        let numbers = [part.size, part.mtime, part.offset].map(u64::to_be_bytes).concat();
        frame(&mut self.frames, b'F', &[&head, &part.mode.to_be_bytes(), &numbers, part.path]);
        for bytes in bytes.iter().flat_map(|bytes| bytes.chunks(MOST_PAYLOAD)) {
            frame(&mut self.frames, b'D', &[bytes]);
        }
        self.parts += 1;
    }
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

    /// Makes a table, view or trigger, or finds that it is there. `anew`: without what was loaded into it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn define(&self, definition: &Definition, anew: bool) -> Result<Defined, ClientError> {
        self.ask("table", json!({"table": definition, "anew": anew})).await
    }

    /// Sends a chunk. The same chunk sent again is not taken in twice. `state` comes back when the job is taken up again.
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
        let body = chunk.body(&json!({"job": self.job, "n": n, "seq": seq, "cursor": state, "last": last}));
        self.send("load", &body, pace).await
    }

    /// Sends parts of files. A part that is sent again lands where it was.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn store(&self, parcel: &Parcel, pace: &mut Pace) -> Result<Stored, ClientError> {
        let mut body = Writer::new(&json!({"job": self.job})).into_bytes();
        body.extend_from_slice(&parcel.frames);
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

    /// Puts what was taken in into the place of what is live.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn swap(&self) -> Result<(), ClientError> {
        self.until_done("swap").await
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
        self.until_done("forget").await
    }

    /// Drops all that was taken in; the job has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn abort(&self) -> Result<(), ClientError> {
        self.until_done("abort").await
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
        body: &[u8],
        pace: &mut Pace,
    ) -> Result<T, ClientError> {
        patiently(pace, |_| async move {
            let call = Call { route, body, sends: Form::Frames, wants: Form::Json, long: true };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_cut_between_frames_and_nothing_is_lost() {
        let mut chunk = Chunk::default();
        let row = vec![b'r'; 100_000];
        for n in 0..6 {
            chunk.row(&row, n != 4);
        }
        chunk.piece(1, 0, &[b'p'; 1000]);
        chunk.close();
        let (units, frames) = (chunk.units(), chunk.frames.clone());
        let (first, second) = chunk.halves().unwrap();
        assert_eq!(first.units() + second.units(), units);
        assert_eq!([first.frames.as_slice(), &second.frames].concat(), frames);
        assert!(!first.is_empty() && !second.is_empty());
        let mut one = Chunk::default();
        one.row(&row, true);
        assert!(one.halves().is_none());
    }
}
