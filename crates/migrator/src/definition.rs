//! Definitions of tables, views and triggers, as data.

use serde::{Deserialize, Serialize};

/// What a database has.
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
    /// Such as `InnoDB`.
    pub engine: String,
    /// Charset of columns that name none.
    pub charset: String,
    /// Collation of columns that name none.
    pub collation: String,
    /// Such as `Dynamic`.
    pub row_format: Option<String>,
    /// Its comment.
    pub comment: String,
    /// The next value of the column that counts by itself.
    pub auto_increment: Option<u64>,
    /// Whether it is partitioned; the copy is not.
    #[serde(default)]
    pub partitioned: bool,
    /// How many rows the database thinks there are.
    #[serde(default)]
    pub rows: u64,
    /// How many bytes it thinks the rows have.
    #[serde(default)]
    pub data_bytes: u64,
    /// How many bytes it thinks the indexes have.
    #[serde(default)]
    pub index_bytes: u64,
    /// The columns by which rows are paged; none where they are counted.
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
    /// How many bytes rows and indexes have, as the database thinks.
    #[must_use]
    pub fn estimated_bytes(&self) -> u64 {
        self.data_bytes.saturating_add(self.index_bytes)
    }

    /// The columns whose values travel: all but the generated ones, in order.
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
    /// What it is where nothing is said.
    pub default: Option<DefaultValue>,
    /// Whether it counts by itself.
    pub auto_increment: bool,
    /// It becomes the current time at each change, with so many digits of a second.
    pub on_update: Option<u8>,
    /// Its charset, if it is a text.
    pub charset: Option<String>,
    /// Its collation, if it is a text.
    pub collation: Option<String>,
    /// Its comment.
    pub comment: String,
    /// How it is computed, if it is.
    pub generated: Option<Generated>,
    /// Whether `SELECT *` leaves it out.
    #[serde(default)]
    pub invisible: bool,
    /// The reference system that its shapes must have, if MySQL asks for one.
    pub srid: Option<u32>,
}

/// A column's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultValue {
    /// NULL; always true.
    Null(bool),
    /// This text, or number.
    Text(String),
    /// These bytes, as hex.
    Hex(String),
    /// The current time with so many digits of a second.
    Now(u8),
    /// What this comes to.
    Expression(String),
}

/// How a column is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// From what.
    pub expression: String,
    /// Whether it is stored.
    pub stored: bool,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableIndex {
    /// Its name; `PRIMARY` is the primary key's.
    pub name: String,
    /// Whether no two rows may be alike.
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
    /// The column, or else `expression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Only so many characters of it.
    pub length: Option<u32>,
    /// Whether in falling order.
    pub descending: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The columns here.
    pub columns: Vec<String>,
    /// The other table.
    pub table: String,
    /// The columns there.
    pub references: Vec<String>,
    /// Such as `CASCADE`.
    pub on_delete: String,
    /// Such as `RESTRICT`.
    pub on_update: String,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What has to hold.
    pub expression: String,
}

/// A view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// What it selects, with the name of the source's database in it.
    pub select: String,
    /// `DEFINER` or `INVOKER`.
    pub security: String,
    /// As whom.
    pub definer: String,
    /// `NONE`, `LOCAL` or `CASCADED`.
    pub check_option: String,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The table it is on.
    pub table: String,
    /// `BEFORE` or `AFTER`.
    pub timing: String,
    /// `INSERT`, `UPDATE` or `DELETE`.
    pub event: String,
    /// What it does.
    pub body: String,
    /// As whom.
    pub definer: String,
}
