//! Remembers which columns are binary, by the definitions of tables: a literal does not tell.

use std::collections::HashMap;
use std::sync::Arc;

/// The most tables that are remembered, and the most binary columns of each.
const MAX_TABLES: usize = 4096;
const MAX_COLUMNS: usize = 256;

/// The binary columns of all tables whose definition was read, and the state within a statement.
#[derive(Default)]
pub(super) struct BinaryColumns {
    tables: HashMap<Vec<u8>, Arc<[BinaryColumn]>>,
    statement: TableStatement,
}

/// A column of a binary type.
#[derive(Clone)]
struct BinaryColumn {
    /// In lower case.
    name: Vec<u8>,
    position: usize,
}

#[derive(Default)]
enum TableStatement {
    #[default]
    Other,
    /// `CREATE TABLE`.
    Definition {
        table: Vec<u8>,
        columns: Vec<BinaryColumn>,
        /// The last column that was named, until its type was read.
        untyped: Option<BinaryColumn>,
        /// Not in `CREATE TABLE … LIKE`.
        lists_columns: bool,
    },
    /// A statement that writes rows of a known table. `listed`: the positions of binary columns, once the statement
    /// has listed its columns.
    Rows { known: Arc<[BinaryColumn]>, listed: Option<Vec<usize>> },
}

impl BinaryColumns {
    pub(super) fn begin_definition(&mut self, table: &[u8]) {
        if matches!(self.statement, TableStatement::Other) {
            self.statement = TableStatement::Definition {
                table: table.to_vec(),
                columns: Vec::new(),
                untyped: None,
                lists_columns: false,
            };
        }
    }

    pub(super) fn begin_rows(&mut self, table: &[u8]) {
        if let Some(known) =
            self.tables.get(table).filter(|_| matches!(self.statement, TableStatement::Other))
        {
            self.statement = TableStatement::Rows { known: known.clone(), listed: None };
        }
    }

    /// A column is named, in a definition or in the list of a statement that writes rows.
    pub(super) fn column_named(&mut self, name: &[u8], position: usize) {
        match &mut self.statement {
            TableStatement::Other => {}
            TableStatement::Definition { untyped, lists_columns, .. } => {
                *lists_columns = true;
                *untyped = Some(BinaryColumn { name: name.to_ascii_lowercase(), position });
            }
            TableStatement::Rows { known, listed } => {
                let listed = listed.get_or_insert_default();
                if known.iter().any(|known| name.eq_ignore_ascii_case(&known.name)) {
                    listed.push(position);
                }
            }
        }
    }

    /// A word follows: the type of the column, if it was just named.
    pub(super) fn word(&mut self, word: &[u8]) {
        if let TableStatement::Definition { columns, untyped, .. } = &mut self.statement
            && let Some(column) = untyped.take().filter(|_| is_binary_type(word))
            && columns.len() < MAX_COLUMNS
        {
            columns.push(column);
        }
    }

    pub(super) fn end_statement(&mut self) {
        if let TableStatement::Definition { table, columns, lists_columns: true, .. } =
            std::mem::take(&mut self.statement)
            && (self.tables.len() < MAX_TABLES || self.tables.contains_key(&table))
        {
            self.tables.insert(table, columns.into());
        }
    }

    /// Whether any column that the statement writes is known to be binary.
    pub(super) fn any(&self) -> bool {
        match &self.statement {
            TableStatement::Rows { listed: Some(listed), .. } => !listed.is_empty(),
            TableStatement::Rows { known, listed: None } => !known.is_empty(),
            _ => false,
        }
    }

    /// Whether the column at a position is binary; `None` if the table is not known.
    pub(super) fn is_binary(&self, position: usize) -> Option<bool> {
        match &self.statement {
            TableStatement::Rows { listed: Some(listed), .. } => Some(listed.contains(&position)),
            TableStatement::Rows { known, listed: None } => {
                Some(known.iter().any(|column| column.position == position))
            }
            _ => None,
        }
    }
}

fn is_binary_type(word: &[u8]) -> bool {
    const TYPES: [&[u8]; 6] = [b"binary", b"varbinary", b"tinyblob", b"blob", b"mediumblob", b"longblob"];
    TYPES.iter().any(|name| word.eq_ignore_ascii_case(name))
}
