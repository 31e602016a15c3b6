//! Streams of whole tables and folders, one response at a time. The next request is sent when the previous response has been
//! consumed, so that only one response is in memory.

use std::collections::HashSet;

use crate::ClientError;
use serde_json::json;

use crate::adaptive_batch::{AdaptiveBatch, Budget};
use crate::client::Client;
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::files::{FileRequest, Files, Index, Root, is_in_order};
use crate::import::Import;
use crate::paging::Paging;
use crate::retry::with_retries;
use crate::rows::{RowCount, RowDigest, Rows};

/// The maximum number of tables, views and triggers of a site: as many as an import job accepts.
const MAX_DEFINITIONS: u64 = 50_000;
/// The maximum length of all definitions of a site as JSON, in bytes. A table of WordPress has some 3 KB.
const MAX_DEFINITIONS_BYTES: usize = 64 << 20;
/// The maximum number of their columns, indexes and the like. A table of WordPress has some 20.
const MAX_DEFINITION_PARTS: usize = 1 << 20;
/// The maximum number of rows and pieces of a table.
const MAX_ROW_PARTS: u64 = 1 << 40;

/// The rows of a table.
#[derive(Debug)]
pub struct RowStream<'a> {
    client: &'a Client,
    table: &'a str,
    /// Where to resume; `None` at the end.
    next: Option<Option<Cursor>>,
    paging: Paging,
    /// The size of the next request.
    pub batch: AdaptiveBatch,
}

impl RowStream<'_> {
    /// The next rows; `None` at the end. Transient errors are retried. After an error, another call continues at the same
    /// position.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Rows>, ClientError> {
        let Some(cursor) = &self.next else { return Ok(None) };
        let (client, table) = (self.client, self.table);
        let rows = with_retries(&mut self.batch, |budget| async move {
            let rows = client.rows(table, cursor.as_ref(), budget).await?;
            let bytes = rows.len();
            Ok((rows, bytes))
        })
        .await?;
        if rows.header.table != table {
            return Err(ClientError::Malformed("rows of another table"));
        }
        self.paging.page(rows.part_count, cursor.as_ref(), rows.count.cursor.as_ref())?;
        client.record_progress(rows.part_count);
        self.next = rows.count.cursor.clone().map(Some);
        Ok(Some(rows))
    }
}

/// The definitions of a site.
#[derive(Debug)]
pub struct DefinitionStream<'a> {
    client: &'a Client,
    /// Where to resume; `None` at the end.
    next: Option<Option<Cursor>>,
    paging: Paging,
    /// The length of all responses so far, and the number of columns, indexes and the like in them.
    bytes: usize,
    parts: usize,
    /// The size of the next request.
    batch: AdaptiveBatch,
}

impl DefinitionStream<'_> {
    /// The next definitions; `None` at the end. Transient errors are retried.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Vec<Definition>>, ClientError> {
        let Some(cursor) = &self.next else { return Ok(None) };
        let client = self.client;
        let page = with_retries(&mut self.batch, |budget| async move {
            Ok((client.definitions(cursor.as_ref(), budget).await?, 0))
        })
        .await?;
        self.paging.page(page.found.len() as u64, cursor.as_ref(), page.cursor.as_ref())?;
        client.record_progress(page.found.len() as u64);
        self.bytes = self.bytes.saturating_add(page.bytes);
        self.parts += page.found.iter().map(Definition::part_count).sum::<usize>();
        if self.bytes > MAX_DEFINITIONS_BYTES || self.parts > MAX_DEFINITION_PARTS {
            return Err(ClientError::Endless("definitions"));
        }
        self.next = page.cursor.map(Some);
        Ok(Some(page.found))
    }
}

/// The index of a root.
#[derive(Debug)]
pub struct IndexStream<'a> {
    client: &'a Client,
    root: Root,
    digests: bool,
    position: IndexPosition,
    /// The size of the next request.
    pub batch: AdaptiveBatch,
}

/// How far an index was read.
#[derive(Debug)]
pub(crate) struct IndexPosition {
    /// Where to resume; `None` at the end.
    pub(crate) next: Option<Option<Cursor>>,
    paging: Paging,
    /// The last path so far.
    last: Vec<u8>,
}

impl IndexPosition {
    pub(crate) fn new(from: Option<Cursor>) -> Self {
        Self { next: Some(from), paging: Paging::new("an index", Index::MAX_ENTRIES), last: Vec::new() }
    }

    /// Moves on to what follows a page.
    ///
    /// # Errors
    /// The page does not continue this index, or the index has no end.
    pub(crate) fn accept(&mut self, page: &Index) -> Result<(), ClientError> {
        if !is_in_order(&self.last, &page.entries) {
            return Err(ClientError::Malformed("an index that is not in order"));
        }
        let before = self.next.as_ref().and_then(Option::as_ref);
        self.paging.page(page.entries.len() as u64, before, page.cursor.as_ref())?;
        if let Some(entry) = page.entries.last() {
            self.last.clone_from(&entry.path);
        }
        self.next = page.cursor.clone().map(Some);
        Ok(())
    }
}

impl IndexStream<'_> {
    /// The next entries, in order; `None` at the end. After an error, another call continues at the same position.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Index>, ClientError> {
        let Some(cursor) = &self.position.next else { return Ok(None) };
        let (client, root, digests) = (self.client, self.root, self.digests);
        let index = with_retries(&mut self.batch, |budget| async move {
            let index = client.index(root, digests, cursor.as_ref(), budget).await?;
            let bytes = index.bytes;
            Ok((index, bytes))
        })
        .await?;
        self.position.accept(&index)?;
        client.record_progress(index.entries.len() as u64);
        Ok(Some(index))
    }
}

/// The index of the files that a job has stored in a root.
#[derive(Debug)]
pub struct StagedIndex<'a> {
    import: &'a Import,
    root: Root,
    position: IndexPosition,
    batch: AdaptiveBatch,
}

impl StagedIndex<'_> {
    /// The next entries, in order; `None` at the end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Index>, ClientError> {
        let Some(cursor) = &self.position.next else { return Ok(None) };
        let (import, root) = (self.import, self.root);
        let index = with_retries(&mut self.batch, |Budget { bytes, ms }| async move {
            let body = json!({
                "job": import.job, "root": root, "digests": true, "cursor": cursor, "bytes": bytes, "ms": ms,
            });
            let index = Index::parse(&import.client.post_for_frames("staged-index", &body).await?)?;
            let size = index.bytes;
            Ok((index, size))
        })
        .await?;
        self.position.accept(&index)?;
        import.client.record_progress(index.entries.len() as u64);
        Ok(Some(index))
    }
}

impl Import {
    /// The index of the files stored in a root, with their digests.
    #[must_use]
    pub fn staged_index(&self, root: Root) -> StagedIndex<'_> {
        StagedIndex { import: self, root, position: IndexPosition::new(None), batch: self.adaptive_batch() }
    }
}

impl Client {
    /// The rows of a table from the cursor on, or from its beginning.
    #[must_use]
    pub fn row_stream<'a>(
        &'a self,
        table: &'a str,
        from: Option<Cursor>,
        batch: AdaptiveBatch,
    ) -> RowStream<'a> {
        let paging = Paging::new("rows", MAX_ROW_PARTS);
        RowStream { client: self, table, next: Some(from), paging, batch }
    }

    /// The index of a root from the cursor on, or from its beginning.
    #[must_use]
    pub fn index_stream(
        &self,
        root: Root,
        digests: bool,
        from: Option<Cursor>,
        batch: AdaptiveBatch,
    ) -> IndexStream<'_> {
        IndexStream { client: self, root, digests, position: IndexPosition::new(from), batch }
    }

    /// The definitions of all tables, views, triggers, sequences and stored programs, page by page.
    #[must_use]
    pub fn definition_stream(&self, batch: AdaptiveBatch) -> DefinitionStream<'_> {
        let paging = Paging::new("definitions", MAX_DEFINITIONS);
        DefinitionStream { client: self, next: Some(None), paging, bytes: 0, parts: 0, batch }
    }

    /// All definitions at once, of which no two of one namespace have the same name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_definitions(&self, batch: AdaptiveBatch) -> Result<Vec<Definition>, ClientError> {
        let (mut all, mut pages) = (Vec::new(), self.definition_stream(batch));
        while let Some(page) = pages.next().await? {
            all.extend(page);
        }
        if has_unique_names(&all) { Ok(all) } else { Err(ClientError::Malformed("two objects of one name")) }
    }

    /// Counts all rows of a table, of which there should be at most `max_rows`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn full_checksum(
        &self,
        table: &str,
        max_rows: u64,
        batch: &mut AdaptiveBatch,
    ) -> Result<RowCount, ClientError> {
        let (mut rows, mut digest, mut cursor) = (0_u64, RowDigest::default(), None::<Cursor>);
        let mut paging = Paging::new("a checksum", max_rows);
        loop {
            let from = cursor.as_ref();
            let count = with_retries(batch, |budget| async move {
                let count = self.checksum(table, from, budget.ms).await?;
                Ok((count, 0))
            })
            .await?;
            paging.page(count.rows, from, count.cursor.as_ref())?;
            self.record_progress(count.rows);
            rows = rows.saturating_add(count.rows);
            digest.combine(count.digest);
            if count.cursor.is_none() {
                return Ok(RowCount { rows, digest, cursor: None });
            }
            cursor = count.cursor;
        }
    }

    /// As many of these files as one response has; transient errors are retried. [`Files::next`] says where to continue.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fetch_files(
        &self,
        requests: &[FileRequest],
        batch: &mut AdaptiveBatch,
    ) -> Result<Files, ClientError> {
        with_retries(batch, |budget| async move {
            let files = self.files(requests, budget).await?;
            let bytes = files.len();
            Ok((files, bytes))
        })
        .await
    }
}

/// Whether no two objects of one namespace have the same name.
fn has_unique_names(all: &[Definition]) -> bool {
    let mut names = HashSet::new();
    all.iter().all(|one| names.insert((one.namespace(), one.name())))
}
