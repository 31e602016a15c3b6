//! Definitions of tables, views and triggers, as data.

use serde::{Deserialize, Serialize};

/// A database object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Definition {
    /// A table.
    Table(Table),
    /// A view.
    View(View),
    /// A trigger.
    Trigger(Trigger),
}

impl Definition {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Table(t) => &t.name,
            Self::View(v) => &v.name,
            Self::Trigger(t) => &t.name,
        }
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Storage engine, such as `InnoDB`.
    pub engine: String,
    /// Default charset of its columns.
    pub charset: String,
    /// Default collation of its columns.
    pub collation: String,
    /// Such as `Dynamic`.
    pub row_format: Option<String>,
    /// Its comment.
    pub comment: String,
    /// The next AUTO_INCREMENT value.
    pub auto_increment: Option<u64>,
    /// Whether it is partitioned; the copy is not.
    #[serde(default)]
    pub partitioned: bool,
    /// Number of rows, as the database estimates.
    #[serde(default)]
    pub rows: u64,
    /// Bytes of rows, as the database estimates.
    #[serde(default)]
    pub data_bytes: u64,
    /// Bytes of indexes, as the database estimates.
    #[serde(default)]
    pub index_bytes: u64,
    /// The columns that rows are paged by; empty if they are paged by number.
    #[serde(default)]
    pub key: Vec<String>,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its indexes.
    pub indexes: Vec<TableIndex>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Its checks.
    pub checks: Vec<Check>,
}

impl Table {
    /// Bytes of rows and indexes, as the database estimates.
    #[must_use]
    pub fn estimated_bytes(&self) -> u64 {
        self.data_bytes.saturating_add(self.index_bytes)
    }

    /// The columns whose values are transferred: all but generated ones, in order.
    pub fn transferred_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.generated.is_none())
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Such as `bigint(20) unsigned`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Its default value.
    pub default: Option<DefaultValue>,
    /// Whether it is AUTO_INCREMENT.
    pub auto_increment: bool,
    /// ON UPDATE CURRENT_TIMESTAMP with so many fractional digits.
    pub on_update: Option<u8>,
    /// Its charset, for text types.
    pub charset: Option<String>,
    /// Its collation, for text types.
    pub collation: Option<String>,
    /// Its comment.
    pub comment: String,
    /// The expression it is generated from.
    pub generated: Option<Generated>,
    /// Whether `SELECT *` omits it.
    #[serde(default)]
    pub invisible: bool,
    /// The spatial reference system that MySQL restricts it to.
    pub srid: Option<u32>,
}

/// The default value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultValue {
    /// NULL; always true.
    Null(bool),
    /// A string or number.
    Text(String),
    /// Bytes, as hex.
    Hex(String),
    /// CURRENT_TIMESTAMP with so many fractional digits.
    Now(u8),
    /// An expression.
    Expression(String),
}

/// How a column is generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The expression.
    pub expression: String,
    /// Whether it is stored.
    pub stored: bool,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableIndex {
    /// Its name; that of the primary key is `PRIMARY`.
    pub name: String,
    /// Whether it is a unique index.
    pub unique: bool,
    /// `BTREE`, `HASH`, `FULLTEXT` or `SPATIAL`.
    pub kind: String,
    /// Its comment.
    pub comment: String,
    /// Its parts.
    pub parts: Vec<IndexPart>,
}

/// A part of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// The column, unless there is an `expression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The expression of a functional index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Only so many leading characters.
    pub length: Option<u32>,
    /// Whether it sorts in descending order.
    pub descending: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The referencing columns.
    pub columns: Vec<String>,
    /// The referenced table.
    pub table: String,
    /// The referenced columns.
    pub references: Vec<String>,
    /// Such as `CASCADE`.
    pub on_delete: String,
    /// Such as `RESTRICT`.
    pub on_update: String,
}

/// A CHECK constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The condition.
    pub expression: String,
}

/// A view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its SELECT, which names the source's database.
    pub select: String,
    /// `DEFINER` or `INVOKER`.
    pub security: String,
    /// The user that executes it.
    pub definer: String,
    /// `NONE`, `LOCAL` or `CASCADED`.
    pub check_option: String,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The table it belongs to.
    pub table: String,
    /// `BEFORE` or `AFTER`.
    pub timing: String,
    /// `INSERT`, `UPDATE` or `DELETE`.
    pub event: String,
    /// Its statement.
    pub body: String,
    /// The user that executes it.
    pub definer: String,
}
