//! The client of a migrator. Responses are not trusted until they are verified and parsed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::adaptive_batch::Budget;
use crate::buffer_pool::Pool;
use crate::cost::{PhpMemory, ResponseCost};
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::error::ClientError;
use crate::files::{FileRequest, Files, Index, Root};
use crate::kept_json;
use crate::manifest::{MAX_ADDRESS_BYTES, MAX_NAME_BYTES, Manifest, are_short};
use crate::rows::{RowCount, Rows};
use crate::signing::Key;
use crate::snapshot::{KnownTable, Snapshot};

/// The deadline of one request including its response's body; and of one that transfers content.
const DEADLINE: Duration = Duration::from_secs(20);
const TRANSFER_DEADLINE: Duration = Duration::from_secs(60);

/// A client for one migrator. Clones share its state.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) site: Url,
    pub(crate) key: Key,
    pub(crate) deadline: Duration,
    pub(crate) transfer_deadline: Duration,
    /// Whether REST was the endpoint that worked last; shared by clones.
    pub(crate) prefers_rest: Arc<AtomicBool>,
    /// Shared by clones.
    progress: Arc<AtomicU64>,
    /// Of the request that needed most; shared by clones.
    memory: Arc<Mutex<Option<PhpMemory>>>,
    /// Buffers for request and response bodies; shared by clones.
    pub(crate) pool: Pool,
    /// Whether tables without the site's prefix are read too.
    reads_unprefixed: bool,
}

/// The response of the route `status`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The plugin's version.
    pub plugin_version: String,
    /// WordPress' version.
    pub wordpress: String,
    /// PHP's version.
    pub php: String,
    /// Whether import is enabled.
    pub import_enabled: bool,
    /// When the access window closes, in Unix seconds of the site's clock.
    pub open_until: i64,
    /// The option `siteurl`: the address of WordPress' own files.
    pub site_url: String,
    /// The option `home`: the address of the front page.
    pub home_url: String,
    /// Whether it is a network of sites.
    pub multisite: bool,
}

impl Status {
    fn is_bounded(&self) -> bool {
        are_short([&self.plugin_version, &self.wordpress, &self.php], MAX_NAME_BYTES)
            && are_short([&self.site_url, &self.home_url], MAX_ADDRESS_BYTES)
    }
}

/// Definitions of a site's database objects.
#[derive(Debug)]
pub struct Definitions {
    /// In order: tables, views, triggers.
    pub found: Vec<Definition>,
    /// Where to resume; `None` at the end.
    pub cursor: Option<Cursor>,
    /// The length of the response.
    pub(crate) bytes: usize,
}

#[derive(Deserialize)]
struct DefinitionsEnd {
    cursor: Option<Cursor>,
    #[serde(flatten)]
    _cost: ResponseCost,
}

/// A response that only says whether the route is done.
#[derive(Deserialize)]
pub(crate) struct StepResponse {
    pub(crate) done: bool,
}

impl Client {
    /// A client for the migrator of this site. `http` must not follow redirects.
    #[must_use]
    pub fn new(http: reqwest::Client, site: Url, key: Key) -> Self {
        Self {
            http,
            site,
            key,
            deadline: DEADLINE,
            transfer_deadline: TRANSFER_DEADLINE,
            prefers_rest: Arc::default(),
            progress: Arc::default(),
            memory: Arc::default(),
            pool: Pool::default(),
            reads_unprefixed: false,
        }
    }

    /// The same, but definitions, rows and checksums are also those of tables without the site's prefix, unless they belong to
    /// another WordPress installation.
    #[must_use]
    pub fn reading_unprefixed_tables(mut self, reads: bool) -> Self {
        self.reads_unprefixed = reads;
        self
    }

    /// The body of a request about tables.
    fn about_tables(&self, mut body: Value) -> Value {
        if self.reads_unprefixed {
            body["unprefixed"] = true.into();
        }
        body
    }

    /// The same with another deadline per request than 20 s, or 60 s where content is transferred.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self.transfer_deadline = deadline;
        self
    }

    /// The memory that the site's PHP used for the request that needed most, of all requests of this client and its clones;
    /// `None` if no response contained it.
    #[must_use]
    pub fn php_memory(&self) -> Option<PhpMemory> {
        *self.memory.lock()
    }

    /// How much of anything this client and its clones have received or sent so far: rows, entries of indexes, definitions,
    /// parts of files, steps. While it does not grow, the site makes no progress, whatever it answers.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(crate) fn record_progress(&self, items: u64) {
        // Wraps at most: only changes matter.
        self.progress.fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn record_memory(&self, memory: PhpMemory) {
        let mut max = self.memory.lock();
        if max.is_none_or(|max| memory.above_baseline() > max.above_baseline()) {
            *max = Some(memory);
        }
    }

    /// The state of the migrator; this also extends its access window to one hour.
    ///
    /// # Errors
    /// See [`ClientError`]. When both ways in fail it is the first way's error, unless the second was refused.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let status: Status = self.post_json("status", &json!({}), false).await?;
        if status.is_bounded() { Ok(status) } else { Err(ClientError::Malformed("a status")) }
    }

    /// Facts about the site: versions, settings, limits.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn manifest(&self) -> Result<Manifest, ClientError> {
        let manifest: Manifest = self.post_json("manifest", &json!({}), true).await?;
        if manifest.is_bounded() { Ok(manifest) } else { Err(ClientError::Malformed("a manifest")) }
    }

    /// Definitions of tables, views and triggers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn definitions(
        &self,
        cursor: Option<&Cursor>,
        budget: Budget,
    ) -> Result<Definitions, ClientError> {
        let frames = self
            .post_for_frames(
                "definitions",
                &with_budget(budget, self.about_tables(json!({"cursor": cursor}))),
            )
            .await?;
        let mut found = Vec::new();
        for (kind, payload) in frames.iter() {
            let definition = kept_json::parse(payload);
            let definition = definition.filter(|read: &Definition| kind == b'T' && read.is_bounded());
            found.push(definition.ok_or(ClientError::Malformed("a definition"))?);
        }
        let DefinitionsEnd { cursor, .. } = frames.end()?;
        Ok(Definitions { found, cursor, bytes: frames.len() })
    }

    /// Rows of a table, from the cursor on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rows(
        &self,
        table: &str,
        cursor: Option<&Cursor>,
        budget: Budget,
    ) -> Result<Rows, ClientError> {
        let body = with_budget(budget, self.about_tables(json!({"table": table, "cursor": cursor})));
        Rows::parse(self.post_for_frames("rows", &body).await?)
    }

    /// Counts rows of a table, from the cursor on, for at most `ms` milliseconds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn checksum(
        &self,
        table: &str,
        cursor: Option<&Cursor>,
        ms: u32,
    ) -> Result<RowCount, ClientError> {
        let body = self.about_tables(json!({"table": table, "cursor": cursor, "ms": ms}));
        self.post_json("checksum", &body, true).await
    }

    /// Compares at most [`MAX_SNAPSHOT_TABLES`](crate::MAX_SNAPSHOT_TABLES) tables with what was read of them, at one moment,
    /// and reads what differs, as far as the budget goes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshot(&self, tables: &[KnownTable<'_>], budget: Budget) -> Result<Snapshot, ClientError> {
        let body = with_budget(budget, self.about_tables(json!({"tables": tables})));
        let snapshot = Snapshot::parse(self.post_for_frames("snapshot", &body).await?, tables)?;
        self.record_progress(1);
        Ok(snapshot)
    }

    /// The index of a root, from the cursor on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn index(
        &self,
        root: Root,
        digests: bool,
        cursor: Option<&Cursor>,
        budget: Budget,
    ) -> Result<Index, ClientError> {
        let body = with_budget(budget, json!({"root": root, "digests": digests, "cursor": cursor}));
        Index::parse(&self.post_for_frames("index", &body).await?)
    }

    /// Files, or parts of them: as many as the budget allows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn files(&self, requests: &[FileRequest], budget: Budget) -> Result<Files, ClientError> {
        let body = with_budget(budget, json!({"files": requests}));
        Files::parse(self.post_for_frames("files", &body).await?, requests)
    }
}

/// Adds the budget's fields to a body.
fn with_budget(budget: Budget, mut body: Value) -> Value {
    body["bytes"] = budget.bytes.into();
    body["ms"] = budget.ms.into();
    body
}
