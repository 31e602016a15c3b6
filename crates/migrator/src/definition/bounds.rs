//! The bounds of definitions: what a hostile site sends is no larger than what a database can have.

use super::{
    Column, DefaultValue, Definition, ForeignKey, IndexPart, Sequence, StoredProgram, Table, TableIndex,
    Trigger, Unreadable, View,
};
use crate::manifest::are_short;

/// The maximum length of a name of a database object (64 characters), a user, a type or an option, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 512;
/// The maximum length of a comment (2,048 characters).
const MAX_COMMENT_BYTES: usize = 8192;
/// The maximum length of a column's type, which names the members of an ENUM, and of an expression or default value.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// The maximum length of the SQL of a view or trigger.
const MAX_SQL_BYTES: usize = 1 << 20;
/// The maximum number of columns of a table, and of its foreign keys and checks.
pub(crate) const MAX_COLUMNS: usize = 4096;
/// The maximum number of indexes, and of an index' columns.
const MAX_INDEXES: usize = 256;

impl Definition {
    /// Whether everything has a length that databases allow.
    pub(crate) fn is_bounded(&self) -> bool {
        match self {
            Self::Table(table) => table.is_bounded(),
            Self::View(View { name, select, security, definer, check_option, columns, algorithm }) => {
                is_name(name)
                    && are_short(
                        [security, definer, check_option].into_iter().chain(algorithm),
                        MAX_NAME_BYTES,
                    )
                    && columns.len() <= MAX_COLUMNS
                    && columns.iter().all(|column| is_name(column))
                    && select.len() <= MAX_SQL_BYTES
            }
            Self::Trigger(Trigger { name, table, timing, event, body, sql_mode, order: _, definer }) => {
                is_name(name)
                    && is_name(table)
                    && are_short([timing, event, definer], MAX_NAME_BYTES)
                    && sql_mode.len() <= MAX_COMMENT_BYTES
                    && body.len() <= MAX_SQL_BYTES
            }
            Self::Sequence(Sequence { name, next, min, max, start, increment, cache, round, cycle: _ }) => {
                is_name(name) && are_short([next, min, max, start, increment, cache, round], MAX_NAME_BYTES)
            }
            Self::Program(StoredProgram { name, object }) => {
                is_name(name) && are_short([object], MAX_NAME_BYTES)
            }
            Self::Unreadable(Unreadable { name, object, message, errno: _ }) => {
                is_name(name) && are_short([object], MAX_NAME_BYTES) && message.len() <= MAX_COMMENT_BYTES
            }
        }
    }

    /// How many columns, indexes and the like it has, and names of columns in these. Each takes memory of its own, which is
    /// many times the length of a short name.
    pub(crate) fn part_count(&self) -> usize {
        match self {
            Self::Table(Table { columns, indexes, foreign_keys, checks, key, periods, .. }) => {
                let of_index = |index: &TableIndex| 1 + index.parts.len();
                let of_key = |key: &ForeignKey| 1 + key.columns.len() + key.references.len();
                columns.len()
                    + checks.len()
                    + key.len()
                    + periods.len()
                    + indexes.iter().map(of_index).sum::<usize>()
                    + foreign_keys.iter().map(of_key).sum::<usize>()
            }
            Self::View(view) => view.columns.len(),
            Self::Trigger(_) | Self::Sequence(_) | Self::Program(_) | Self::Unreadable(_) => 0,
        }
    }
}

impl Table {
    fn is_bounded(&self) -> bool {
        let Self { engine, charset, collation, columns, indexes, foreign_keys, checks, key, periods, .. } =
            self;
        is_name(&self.name)
            && are_short([engine, charset, collation].into_iter().chain(&self.row_format), MAX_NAME_BYTES)
            && self.comment.len() <= MAX_COMMENT_BYTES
            && key.len().max(periods.len()) <= MAX_INDEXES
            && self.statement.len() <= MAX_TEXT_BYTES
            && periods
                .iter()
                .flat_map(|period| [&period.name, &period.from, &period.to])
                .all(|name| is_name(name))
            && columns.len().max(foreign_keys.len()).max(checks.len()) <= MAX_COLUMNS
            && indexes.len() <= MAX_INDEXES
            && columns.iter().all(Column::is_bounded)
            && indexes.iter().all(TableIndex::is_bounded)
            && foreign_keys.iter().all(ForeignKey::is_bounded)
            && checks.iter().all(|check| is_name(&check.name) && check.expression.len() <= MAX_TEXT_BYTES)
    }
}

impl Column {
    fn is_bounded(&self) -> bool {
        let default = match &self.default {
            Some(
                DefaultValue::Text(text)
                | DefaultValue::Hex(text)
                | DefaultValue::Expression(text)
                | DefaultValue::Sequence(text),
            ) => text.len(),
            _ => 0,
        };
        let generated = self.generated.as_ref().map_or(0, |generated| generated.expression.len());
        is_name(&self.name)
            && are_short(&self.computed, MAX_TEXT_BYTES)
            && are_short(self.charset.iter().chain(&self.collation), MAX_NAME_BYTES)
            && self.comment.len() <= MAX_COMMENT_BYTES
            && default.max(generated).max(self.kind.len()) <= MAX_TEXT_BYTES
    }
}

impl TableIndex {
    fn is_bounded(&self) -> bool {
        let part = |part: &IndexPart| {
            part.column.as_ref().is_none_or(|name| is_name(name))
                && are_short(&part.expression, MAX_TEXT_BYTES)
        };
        is_name(&self.name)
            && self.without_overlaps.as_ref().is_none_or(|period| is_name(period))
            && are_short([&self.kind], MAX_NAME_BYTES)
            && self.comment.len() <= MAX_COMMENT_BYTES
            && self.parts.len() <= MAX_INDEXES
            && self.parts.iter().all(part)
    }
}

impl ForeignKey {
    fn is_bounded(&self) -> bool {
        let Self { name, columns, table, references, on_delete, on_update } = self;
        columns.len().max(references.len()) <= MAX_INDEXES
            && [name, table].into_iter().chain(columns).chain(references).all(|name| is_name(name))
            && are_short([on_delete, on_update], MAX_NAME_BYTES)
    }
}

/// Whether a text can be a name. Databases allow any character but NUL.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && !text.contains('\0')
}
