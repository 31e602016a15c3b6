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

/// All tables of a schema with their rows.
pub(super) async fn read(database: &Database) -> Result<BTreeMap<String, Table>> {
    let mut tables = BTreeMap::new();
    let sql = "SELECT TABLE_NAME, IFNULL(AUTO_INCREMENT, 'NULL') FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'";
    for line in database.sql(sql).await?.lines() {
        let (name, next) = line.rsplit_once('\t').unwrap();
        tables.insert(name.to_owned(), table(database, name, next.parse().ok()).await?);
    }
    Ok(tables)
}

async fn table(database: &Database, name: &str, next: Option<u64>) -> Result<Table> {
    let (quoted, text) =
        (format!("`{}`", name.replace('`', "``")), format!("'{}'", name.replace('\'', "''")));
    let listed = database
        .sql(&format!(
            "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {text} ORDER BY ORDINAL_POSITION"
        ))
        .await?;
    let columns: Vec<(String, String)> = listed
        .lines()
        .map(|line| line.rsplit_once('\t').map(|(name, kind)| (name.to_owned(), kind.to_owned())).unwrap())
        .collect();
    let key = database
        .sql(&format!(
            "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
             AND TABLE_NAME = {text} AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX"
        ))
        .await?;
    let place = |key: &str| columns.iter().position(|(name, _)| name == key).unwrap();
    let values: Vec<_> = columns.iter().map(|(name, kind)| value(name, kind)).collect();
    let sql = format!("SET time_zone = '+00:00'; SELECT {} FROM {quoted}", values.join(", "));
    let mut rows: Vec<Row> =
        database.sql(&sql).await?.lines().map(|l| l.split('\t').map(str::to_owned).collect()).collect();
    rows.sort();
    let definition = database.sql(&format!("SHOW CREATE TABLE {quoted}")).await?;
    let key = key.lines().map(place).collect();
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
