//! Streams of whole tables and folders, one response at a time. The next request is sent when the previous response has been
//! consumed, so that only one response is in memory.

use crate::ClientError;
use crate::adaptive_batch::AdaptiveBatch;
use crate::client::Client;
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::files::{FileRequest, Files, Index, Root};
use crate::retry::with_retries;
use crate::rows::{RowCount, RowDigest, Rows};

/// The maximum number of tables, views and triggers of a site: as many as an import job accepts.
const MAX_DEFINITIONS: usize = 50_000;

/// The rows of a table.
#[derive(Debug)]
pub struct RowStream<'a> {
    client: &'a Client,
    table: &'a str,
    /// Where to resume; `None` at the end.
    next: Option<Option<Cursor>>,
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
        if rows.count.cursor.is_some() && rows.count.cursor == *cursor {
            return Err(ClientError::Malformed("a cursor that stays where it was"));
        }
        self.next = rows.count.cursor.clone().map(Some);
        Ok(Some(rows))
    }
}

/// The index of a root.
#[derive(Debug)]
pub struct IndexStream<'a> {
    client: &'a Client,
    root: Root,
    digests: bool,
    next: Option<Option<Cursor>>,
    /// The size of the next request.
    pub batch: AdaptiveBatch,
}

impl IndexStream<'_> {
    /// The next entries; `None` at the end. After an error, another call continues at the same position.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Index>, ClientError> {
        let Some(cursor) = &self.next else { return Ok(None) };
        let (client, root, digests) = (self.client, self.root, self.digests);
        let index = with_retries(&mut self.batch, |budget| async move {
            let index = client.index(root, digests, cursor.as_ref(), budget).await?;
            let bytes = index.bytes;
            Ok((index, bytes))
        })
        .await?;
        if index.cursor.is_some() && index.cursor == *cursor {
            return Err(ClientError::Malformed("a cursor that stays where it was"));
        }
        self.next = index.cursor.clone().map(Some);
        Ok(Some(index))
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
        RowStream { client: self, table, next: Some(from), batch }
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
        IndexStream { client: self, root, digests, next: Some(from), batch }
    }

    /// All tables, views and triggers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_definitions(&self, batch: &mut AdaptiveBatch) -> Result<Vec<Definition>, ClientError> {
        let (mut all, mut cursor) = (Vec::new(), None::<Cursor>);
        loop {
            let from = cursor.as_ref();
            let page = with_retries(batch, |budget| async move {
                let page = self.definitions(from, budget).await?;
                Ok((page, 0))
            })
            .await?;
            all.extend(page.found);
            if all.len() > MAX_DEFINITIONS {
                return Err(ClientError::Malformed("too many definitions"));
            }
            if page.cursor.is_none() {
                return Ok(all);
            }
            if page.cursor == cursor {
                return Err(ClientError::Malformed("a cursor that stays where it was"));
            }
            cursor = page.cursor;
        }
    }

    /// Counts all rows of a table.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn full_checksum(
        &self,
        table: &str,
        batch: &mut AdaptiveBatch,
    ) -> Result<RowCount, ClientError> {
        let (mut rows, mut digest, mut cursor) = (0, RowDigest::default(), None::<Cursor>);
        loop {
            let from = cursor.as_ref();
            let count = with_retries(batch, |budget| async move {
                let count = self.checksum(table, from, budget.ms).await?;
                Ok((count, 0))
            })
            .await?;
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
