//! Compares the migrator's rows with the database's own output, in hex, by independent statements.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use wpclone_migrator::{
    AdaptiveBatch, Client, Column, Cursor, LARGE_VALUE_BYTES, RowDigest, RowPart, Rows, Table, Value,
};
use wpclone_tests::{Result, Site};

/// The result of reading a whole table.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Each row as text: hex of its values, or the hash of large ones.
    pub(crate) rows: Vec<String>,
    pub(crate) digest: RowDigest,
    pub(crate) answers: usize,
    /// The highest memory above idle that PHP reported.
    pub(crate) memory: u64,
    /// Large values of the last row that are incomplete: column → (hash, bytes, size).
    open: BTreeMap<usize, (Sha256, u64, u64, [u8; 32])>,
}

impl Read {
    /// Adds one response.
    pub(crate) fn take(&mut self, rows: &Rows) {
        self.answers += 1;
        self.digest.combine(rows.count.digest);
        self.memory = self.memory.max(rows.cost.memory.above_baseline());
        if let Some(cursor) = &rows.count.cursor {
            assert!(serde_json::to_string(cursor).unwrap().len() < Cursor::MOST);
        }
        for part in rows.parts() {
            match part.unwrap() {
                RowPart::Row { values, .. } => {
                    assert!(self.open.is_empty(), "a row begins before the last one's pieces are complete");
                    self.row(&values);
                }
                RowPart::Piece { column, offset, bytes } => self.piece(column, offset, bytes),
            }
        }
        if rows.count.cursor.is_none() {
            assert!(self.open.is_empty(), "pieces are missing");
        }
    }

    fn row(&mut self, values: &[Value<'_>]) {
        let mut texts = Vec::new();
        for (place, value) in values.iter().enumerate() {
            texts.push(match value {
                Value::Null => "NULL".to_owned(),
                Value::Bytes(bytes) => hex::encode_upper(bytes),
                Value::Large { size, sha256 } => {
                    assert!(*size > LARGE_VALUE_BYTES as u64);
                    self.open.insert(place, (Sha256::new(), 0, *size, *sha256));
                    format!("{size}:{}", hex::encode(sha256))
                }
            });
        }
        self.rows.push(texts.join("\t"));
    }

    fn piece(&mut self, column: usize, offset: u64, bytes: &[u8]) {
        let (hash, done, size, sha256) = self.open.get_mut(&column).expect("a piece of a large value");
        assert_eq!(*done, offset, "pieces come in order");
        hash.update(bytes);
        *done += bytes.len() as u64;
        if *done == *size {
            assert_eq!(hash.clone().finalize()[..], sha256[..], "the pieces are not the value");
            self.open.remove(&column);
        }
    }
}

/// Reads a table through the migrator.
pub(crate) async fn read(client: &Client, table: &str, pace: AdaptiveBatch) -> Read {
    let mut read = Read::default();
    let mut stream = client.row_stream(table, None, pace);
    while let Some(rows) = stream.next().await.unwrap_or_else(|e| panic!("{table}: {e}")) {
        read.take(&rows);
    }
    read
}

/// A name in SQL.
pub(crate) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The same rows as the database's own client prints them, sorted.
pub(crate) async fn dump(site: &Site, table: &Table) -> Result<Vec<String>> {
    let columns: Vec<_> = table.transferred_columns().map(column).collect();
    let sql = format!("SET time_zone = '+00:00'; SELECT {} FROM {}", columns.join(", "), name(&table.name));
    let mut rows: Vec<_> = site.sql(&sql).await?.lines().map(str::to_owned).collect();
    rows.sort();
    Ok(rows)
}

fn column(column: &Column) -> String {
    let (name, kind) = (name(&column.name), column.kind.as_str());
    let is = |kinds: &[&str]| kinds.iter().any(|k| kind.starts_with(k));
    if is(&["bit"]) {
        format!("HEX(CONCAT(CAST({name} AS UNSIGNED)))")
    } else if is(&["float"]) {
        format!("HEX(CONCAT(CAST({name} AS DOUBLE)))")
    } else if is(&["long", "medium"]) {
        format!(
            "IF(LENGTH({name}) > {LARGE_VALUE_BYTES}, CONCAT(LENGTH({name}), ':', SHA2({name}, 256)), HEX({name}))"
        )
    } else if column.charset.is_some()
        || is(&["binary", "varbinary", "blob", "tinyblob", "point", "geometry"])
    {
        format!("HEX({name})")
    } else {
        format!("HEX(CONCAT({name}))")
    }
}
