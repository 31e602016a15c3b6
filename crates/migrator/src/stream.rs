//! Whole tables and folders, answer after answer. Nothing is asked for before the last answer has been taken, so
//! that one answer is all that is ever held.

use crate::ClientError;
use crate::client::Client;
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::files::{Files, Index, Root, Wanted};
use crate::pace::{Pace, patiently};
use crate::rows::{Count, RowDigest, Rows};

/// The most tables, views and triggers that a site may have: as many as a job takes.
const MOST_DEFINITIONS: usize = 50_000;

/// The rows of a table.
#[derive(Debug)]
pub struct RowStream<'a> {
    client: &'a Client,
    table: &'a str,
    /// Where to go on; `None` when all was given.
    place: Option<Option<Cursor>>,
    /// How much is asked for at a time.
    pub pace: Pace,
}

impl RowStream<'_> {
    /// The next rows; `None` when there are no more. Tries again what may pass. After an error, the same call goes on
    /// where it was.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Rows>, ClientError> {
        let Some(cursor) = &self.place else { return Ok(None) };
        let (client, table) = (self.client, self.table);
        let rows = patiently(&mut self.pace, |budget| async move {
            let rows = client.rows(table, cursor.as_ref(), budget).await?;
            let bytes = rows.len();
            Ok((rows, bytes))
        })
        .await?;
        if rows.count.cursor.is_some() && rows.count.cursor == *cursor {
            return Err(ClientError::Malformed("a cursor that stays where it was"));
        }
        self.place = rows.count.cursor.clone().map(Some);
        Ok(Some(rows))
    }
}

/// The index of a root.
#[derive(Debug)]
pub struct IndexStream<'a> {
    client: &'a Client,
    root: Root,
    digests: bool,
    place: Option<Option<Cursor>>,
    /// How much is asked for at a time.
    pub pace: Pace,
}

impl IndexStream<'_> {
    /// The next entries; `None` when there are no more. After an error, the same call goes on where it was.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Index>, ClientError> {
        let Some(cursor) = &self.place else { return Ok(None) };
        let (client, root, digests) = (self.client, self.root, self.digests);
        let index = patiently(&mut self.pace, |budget| async move {
            let index = client.index(root, digests, cursor.as_ref(), budget).await?;
            let bytes = index.bytes;
            Ok((index, bytes))
        })
        .await?;
        if index.cursor.is_some() && index.cursor == *cursor {
            return Err(ClientError::Malformed("a cursor that stays where it was"));
        }
        self.place = index.cursor.clone().map(Some);
        Ok(Some(index))
    }
}

impl Client {
    /// The rows of a table from the cursor on, or from its beginning.
    #[must_use]
    pub fn all_rows<'a>(&'a self, table: &'a str, from: Option<Cursor>, pace: Pace) -> RowStream<'a> {
        RowStream { client: self, table, place: Some(from), pace }
    }

    /// The index of a root from the cursor on, or from its beginning.
    #[must_use]
    pub fn all_files(&self, root: Root, digests: bool, from: Option<Cursor>, pace: Pace) -> IndexStream<'_> {
        IndexStream { client: self, root, digests, place: Some(from), pace }
    }

    /// All tables, views and triggers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_tables(&self, pace: &mut Pace) -> Result<Vec<Definition>, ClientError> {
        let (mut all, mut cursor) = (Vec::new(), None::<Cursor>);
        loop {
            let from = cursor.as_ref();
            let page = patiently(pace, |budget| async move {
                let page = self.tables(from, budget).await?;
                Ok((page, 0))
            })
            .await?;
            all.extend(page.found);
            if all.len() > MOST_DEFINITIONS {
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
    pub async fn whole_checksum(&self, table: &str, pace: &mut Pace) -> Result<Count, ClientError> {
        let (mut rows, mut digest, mut cursor) = (0, RowDigest::default(), None::<Cursor>);
        loop {
            let from = cursor.as_ref();
            let count = patiently(pace, |budget| async move {
                let count = self.checksum(table, from, budget.ms).await?;
                Ok((count, 0))
            })
            .await?;
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

    /// As many of these files as one answer has; tries again what may pass. [`Files::next`] says where to go on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn some_files(&self, wanted: &[Wanted], pace: &mut Pace) -> Result<Files, ClientError> {
        patiently(pace, |budget| async move {
            let files = self.files(wanted, budget).await?;
            let bytes = files.len();
            Ok((files, bytes))
        })
        .await
    }
}
