//! Tables and rows read from a database.

use std::collections::BTreeMap;

use wpclone_tests::{Database, Result};

/// Values in hex, `NULL`, or length and hash of a very large one.
pub(super) type Row = Vec<String>;

/// A table as read from its database.
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    /// Column positions of the primary key.
    pub(super) key: Vec<usize>,
    pub(super) definition: String,
    pub(super) next: Option<u64>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    pub(super) fn column_index(&self, column: &str) -> usize {
        self.columns.iter().position(|name| name == column).unwrap_or_else(|| panic!("no column {column}"))
    }
}

/// A column: its name and its type.
type Column = (String, String);

/// All tables of a schema with their rows. A start of the client takes longer than a query, so most have several.
pub(super) async fn read(database: &Database) -> Result<BTreeMap<String, Table>> {
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let sql = "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION";
    for [table, column, kind] in rows_of(&database.sql(sql).await?) {
        columns.entry(table).or_default().push((column, kind));
    }
    let sql = "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
         AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX";
    for [table, column] in rows_of(&database.sql(sql).await?) {
        keys.entry(table).or_default().push(column);
    }
    let mut tables = BTreeMap::new();
    let sql = "SELECT TABLE_NAME, IFNULL(AUTO_INCREMENT, 'NULL') FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'";
    for [name, next] in rows_of(&database.sql(sql).await?) {
        let (columns, key) = (columns.remove(&name).unwrap_or_default(), keys.remove(&name));
        let read = table(database, &name, columns, &key.unwrap_or_default(), next.parse().ok()).await?;
        tables.insert(name, read);
    }
    Ok(tables)
}

/// Rows of this many columns, as the client prints them: it escapes tabs and newlines in values.
fn rows_of<const N: usize>(printed: &str) -> impl Iterator<Item = [String; N]> {
    printed.lines().map(|line| {
        let values: Vec<_> = line.split('\t').map(str::to_owned).collect();
        values.try_into().unwrap_or_else(|values| panic!("{N} columns: {values:?}"))
    })
}

async fn table(
    database: &Database,
    name: &str,
    columns: Vec<Column>,
    key: &[String],
    next: Option<u64>,
) -> Result<Table> {
    let quoted = format!("`{}`", name.replace('`', "``"));
    let key = key.iter().map(|key| columns.iter().position(|(name, _)| name == key).unwrap()).collect();
    let values: Vec<_> = columns.iter().map(|(name, kind)| value(name, kind)).collect();
    let printed = database
        .sql(&format!(
            "SET time_zone = '+00:00'; SELECT {} FROM {quoted}; SHOW CREATE TABLE {quoted}",
            values.join(", ")
        ))
        .await?;
    let mut rows: Vec<Row> = printed.lines().map(|l| l.split('\t').map(str::to_owned).collect()).collect();
    let definition = rows.pop().expect("a definition").join("\t");
    rows.sort();
    let columns = columns.into_iter().map(|(name, _)| name).collect();
    Ok(Table { columns, key, definition: plain(&definition), next, rows })
}

/// A value in hex, whatever it is.
fn value(name: &str, kind: &str) -> String {
    let name = format!("`{}`", name.replace('`', "``"));
    match kind {
        "bit" => format!("HEX(CONCAT(CAST({name} AS UNSIGNED)))"),
        "float" => format!("HEX(CONCAT(CAST({name} AS DOUBLE)))"),
        "longtext" | "longblob" | "mediumtext" | "mediumblob" => format!(
            "IF(LENGTH({name}) > 4000000, CONCAT('L', LENGTH({name}), ':', SHA2({name}, 256)), HEX({name}))"
        ),
        "char" | "varchar" | "text" | "tinytext" | "binary" | "varbinary" | "blob" | "tinyblob" | "point"
        | "geometry" | "enum" | "set" => format!("HEX({name})"),
        _ => format!("HEX(CONCAT({name}))"),
    }
}

/// A definition without AUTO_INCREMENT, its indexes sorted by name.
fn plain(definition: &str) -> String {
    let definition = match definition.split_once(" AUTO_INCREMENT=") {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => definition.to_owned(),
    };
    let lines = definition.split("\\n").map(|line| line.trim_end_matches(','));
    let (mut indexes, rest): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains(" KEY "));
    indexes.sort_unstable();
    [rest, indexes].concat().join("\n")
}
