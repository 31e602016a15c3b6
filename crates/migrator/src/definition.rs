//! Definitions of tables, views, triggers and sequences, as data.

mod bounds;

use serde::{Deserialize, Serialize};

use crate::error::{ClientError, MigratorError};

pub(crate) use bounds::{MAX_COLUMNS, MAX_NAME_BYTES};

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
    /// A sequence.
    Sequence(Sequence),
    /// A stored program, which is not transferred.
    Program(StoredProgram),
    /// An object that the source's database cannot read.
    Unreadable(Unreadable),
}

impl Definition {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Table(t) => &t.name,
            Self::View(v) => &v.name,
            Self::Trigger(t) => &t.name,
            Self::Sequence(s) => &s.name,
            Self::Program(p) => &p.name,
            Self::Unreadable(u) => &u.name,
        }
    }

    /// What it is: `table`, `view`, `trigger`, `sequence`, `procedure`, `function` or `event`.
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::Table(_) => "table",
            Self::View(_) => "view",
            Self::Trigger(_) => "trigger",
            Self::Sequence(_) => "sequence",
            Self::Program(program) => &program.object,
            Self::Unreadable(unreadable) => &unreadable.object,
        }
    }

    /// What its name is unique among: tables, views and sequences share one namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self.object() {
            "view" | "sequence" => "table",
            other => other,
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
    /// Whether MariaDB keeps its former rows (system versioning); they are not transferred.
    #[serde(default)]
    pub versioned: bool,
    /// MariaDB's periods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Period>,
    /// The text of SHOW CREATE TABLE, which is only compared; empty if it is very long.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub statement: String,
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
    /// The expression that it is generated from at the source, if no import can define it: then its values are transferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<String>,
    /// Whether MariaDB compresses its values.
    #[serde(default)]
    pub compressed: bool,
    /// Whether a versioned table does not keep its former values.
    #[serde(default)]
    pub unversioned: bool,
}

/// A period of a table in MariaDB: two columns with its begin and end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Its name; that of a versioned table is `SYSTEM_TIME`.
    pub name: String,
    /// The column with its begin.
    pub from: String,
    /// The column with its end.
    pub to: String,
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
    /// The next number of a sequence.
    Sequence(String),
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
    /// Whether the database maintains it and does not use it.
    #[serde(default)]
    pub ignored: bool,
    /// The period in which its rows must not overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_overlaps: Option<String>,
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
    /// Whether the database checks it.
    #[serde(default = "yes")]
    pub enforced: bool,
}

fn yes() -> bool {
    true
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
    /// The names of its columns. Empty if the source's migrator does not report them.
    #[serde(default)]
    pub columns: Vec<String>,
    /// `UNDEFINED`, `MERGE` or `TEMPTABLE`; `None` if the source's database user may not see it.
    #[serde(default)]
    pub algorithm: Option<String>,
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
    /// The `sql_mode` that its statement was written for and runs with.
    #[serde(default)]
    pub sql_mode: String,
    /// Its place among the triggers of the table with the same timing and event, from 1.
    #[serde(default)]
    pub order: u32,
    /// The user that executes it.
    pub definer: String,
}

/// A sequence of MariaDB. Its numbers may need 64 bits without a sign, so they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its name.
    pub name: String,
    /// The next number that it has not given out.
    pub next: String,
    /// Its lowest number.
    pub min: String,
    /// Its highest number.
    pub max: String,
    /// Its first number.
    pub start: String,
    /// The difference of two numbers.
    pub increment: String,
    /// How many numbers a connection reserves.
    pub cache: String,
    /// How often it began anew.
    pub round: String,
    /// Whether it begins anew after its last number.
    pub cycle: bool,
}

/// A stored program: a procedure, a function or an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredProgram {
    /// Its name.
    pub name: String,
    /// `procedure`, `function`, `event`, or MariaDB's `package`.
    pub object: String,
}

/// An object that the source's database cannot read: its file is damaged or missing, or it leads to what is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// `table`, `view`, `trigger` or `sequence`.
    pub object: String,
    /// The number of the database's error.
    pub errno: u32,
    /// What the database says.
    pub message: String,
}

impl Unreadable {
    /// The error that reading it gives.
    #[must_use]
    pub fn error(&self) -> ClientError {
        let error = Box::new(MigratorError::of_database(self.errno, &self.message));
        ClientError::Migrator { status: 200, error }
    }
}
